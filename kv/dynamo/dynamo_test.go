package dynamo_test

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"granary/integration/component"
	"granary/kv"
	"granary/kv/dynamo"
	"granary/kv/kvtest"
)

func TestMain(m *testing.M) {
	// What the services of these tests take for credentials, and nothing of the
	// machine's own.
	for k, v := range map[string]string{
		"AWS_ACCESS_KEY_ID": "granary", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "",
		"AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_PROFILE": "", "AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_DYNAMODB": "",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		if err := os.Setenv(k, v); err != nil {
			panic(err)
		}
	}
	os.Exit(component.Run(m))
}

// services are what the store is tested on.
var services = map[string]func(testing.TB) string{
	"DynamoDBLocal": component.DynamoDBLocal,
	"Dynalite":      component.Dynalite,
}

// onServices runs a test on each of them.
func onServices(t *testing.T, test func(t *testing.T, endpoint string)) {
	for name, start := range services {
		t.Run(name, func(t *testing.T) { test(t, start(t)) })
	}
}

var tables atomic.Int64

// config names a table that no other test has.
func config(endpoint string) dynamo.Config {
	return dynamo.Config{Table: fmt.Sprintf("granary-%d", tables.Add(1)), Endpoint: endpoint}
}

// open makes a table and opens it.
func open(t testing.TB, cfg dynamo.Config) *dynamo.Store {
	t.Helper()
	if err := dynamo.CreateTable(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	s, err := dynamo.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// clock is the system's, moved on by tests.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

func TestStore(t *testing.T) {
	onServices(t, func(t *testing.T, endpoint string) {
		var c clock
		kvtest.Test(t, func(t *testing.T) kv.Store {
			cfg := config(endpoint)
			cfg.Now = c.now
			return open(t, cfg)
		}, kvtest.Clock(c.now, c.advance), kvtest.Items(1500))
	})
}
