package dynamo_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"granary/kv"
	"granary/kv/dynamo"
)

func TestOpenNeverCreates(t *testing.T) {
	onServices(t, func(t *testing.T, endpoint string) {
		cfg := config(endpoint)
		for range 2 {
			_, err := dynamo.Open(t.Context(), cfg)
			if err == nil || !strings.Contains(err.Error(), "granary kv create-table") {
				t.Fatalf("Open without a table: %v, want how to make it", err)
			}
		}
	})
}

func TestCreateTableTwiceAndAtOnce(t *testing.T) {
	onServices(t, func(t *testing.T, endpoint string) {
		cfg := config(endpoint)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if err := dynamo.CreateTable(t.Context(), cfg); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		s := open(t, cfg)
		if err := s.PutIf(t.Context(), item, ""); err != nil {
			t.Fatal(err)
		}
		if err := dynamo.CreateTable(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Get(t.Context(), key, kv.Consistent); err != nil || got.Version != item.Version {
			t.Errorf("item after CreateTable: %v, %v", got, err)
		}
	})
}

// TestForeignTable: a table with other keys is neither opened nor adopted.
func TestForeignTable(t *testing.T) {
	foreign := described("arn:aws:dynamodb:x:1:table/t", "ACTIVE")
	foreign["Table"].(map[string]any)["KeySchema"] = []map[string]string{{"AttributeName": "p", "KeyType": "HASH"}}
	c := &script{t: t, describe: reply(foreign)}
	if _, err := c.open(dynamo.Config{}); err == nil || !strings.Contains(err.Error(), "not granary's") {
		t.Errorf("Open: %v", err)
	}
	if err := c.create(); err == nil || !strings.Contains(err.Error(), "not granary's") {
		t.Errorf("CreateTable: %v", err)
	}
}

func (c *script) create() error {
	server := httptest.NewServer(c)
	c.t.Cleanup(server.Close)
	return dynamo.CreateTable(c.t.Context(), dynamo.Config{Table: "t", Endpoint: server.URL})
}

func TestForeignExpiry(t *testing.T) {
	c := &script{t: t, describe: reply(described("arn:aws:dynamodb:x:1:table/t", "ACTIVE")), steps: []step{
		reply(map[string]any{"TimeToLiveDescription": map[string]string{"AttributeName": "ttl", "TimeToLiveStatus": "ENABLED"}}),
	}}
	if err := c.create(); err == nil || !strings.Contains(err.Error(), `"ttl"`) {
		t.Errorf("CreateTable: %v", err)
	}
	c.sent()
}

func TestOpenWaitsForTheTable(t *testing.T) {
	c := &script{t: t}
	states := []string{"CREATING", "CREATING", "ACTIVE"}
	c.describe = func(w http.ResponseWriter, body string) {
		reply(described("arn:aws:dynamodb:x:1:table/t", states[0]))(w, body)
		states = states[1:]
	}
	s, err := c.open(dynamo.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if len(states) != 0 {
		t.Errorf("opened before %v", states)
	}
	c.describe = reply(described("arn:aws:dynamodb:x:1:table/t", "DELETING"))
	if _, err := c.open(dynamo.Config{}); err == nil || !strings.Contains(err.Error(), "DELETING") {
		t.Errorf("Open: %v", err)
	}
}

func tagged(mode string) step {
	tags := []map[string]string{{"Key": "team", "Value": "x"}}
	if mode != "" {
		tags = append(tags, map[string]string{"Key": "system:write_isolation", "Value": mode})
	}
	return reply(map[string]any{"Tags": tags})
}

const scylla = "arn:scylla:alternator:alternator_t:scylla:table/t"

func TestAlternatorIsolation(t *testing.T) {
	for mode, want := range map[string]bool{
		"only_rmw_uses_lwt": true, "o": true, "": false, "a": false, "always_use_lwt": false, "forbid_rmw": false, "unsafe_rmw": false, "u": false,
	} {
		c := &script{t: t, describe: reply(described(scylla, "ACTIVE")), steps: []step{tagged(mode)}}
		s, err := c.open(dynamo.Config{})
		if (err == nil) != want {
			t.Errorf("Open with isolation %q: %v", mode, err)
		}
		if err == nil {
			if got, want := s.Traits(), (kv.Traits{Inline: 4 << 10, Shards: 256, AlwaysConsistent: true}); got != want || !s.Alternator() {
				t.Errorf("Traits %+v, want %+v", got, want)
			}
			s.Close()
		} else if !strings.Contains(err.Error(), "only_rmw_uses_lwt") {
			t.Errorf("Open with isolation %q does not say what it needs: %v", mode, err)
		}
		c.sent()
	}
}

// TestAlternatorNeverInfersAbsence: its nodes may differ in what they send
// while they are upgraded.
func TestAlternatorNeverInfersAbsence(t *testing.T) {
	c := &script{t: t, describe: reply(described(scylla, "ACTIVE")), steps: []step{
		tagged("o"), conflicting(stored("p", "s", "theirs")), conflicting(nil), ok,
	}}
	s, err := c.open(dynamo.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.PutIf(t.Context(), item, "old"); err == nil {
		t.Error("no conflict")
	}
	err = s.PutIf(t.Context(), item, "old")
	if _, err := kv.Current(t.Context(), s, key, err); err != kv.ErrNotFound { //nolint:errorlint // the very one
		t.Errorf("Current: %v", err)
	}
	if got := c.sent(); got[len(got)-1] != "GetItem" {
		t.Errorf("sent %v, want a read to decide", got)
	}
}

func TestCreateTableOnAlternator(t *testing.T) {
	unknown := fail(400, "UnknownOperationException")
	for _, test := range []struct {
		mode  string
		steps []step
		sent  []string
		fails bool
	}{
		{"", []step{tagged(""), ok, unknown}, []string{"ListTagsOfResource", "TagResource", "DescribeTimeToLive"}, false},
		{"o", []step{tagged("o"), ok, unknown, unknown}, []string{"ListTagsOfResource", "DescribeTimeToLive", "UpdateTimeToLive", "DescribeTimeToLive"}, false},
		{"o", []step{tagged("o"), ok, ok}, []string{"ListTagsOfResource", "DescribeTimeToLive", "UpdateTimeToLive"}, false},
		{"unsafe_rmw", []step{tagged("unsafe_rmw")}, []string{"ListTagsOfResource"}, true},
	} {
		c := &script{t: t, describe: reply(described(scylla, "ACTIVE")), steps: test.steps}
		if err := c.create(); (err != nil) != test.fails {
			t.Errorf("CreateTable with isolation %q: %v", test.mode, err)
		}
		if got := c.sent(); !slices.Equal(got, test.sent) {
			t.Errorf("isolation %q: sent %v, want %v", test.mode, got, test.sent)
		}
	}
}

func TestCreateTableAsksForGranarysTable(t *testing.T) {
	c := &script{t: t, steps: []step{
		fail(400, "ResourceNotFoundException"), // DescribeTable
		ok,                                     // CreateTable
		reply(described("arn:aws:dynamodb:x:1:table/t", "CREATING")),
		reply(described("arn:aws:dynamodb:x:1:table/t", "ACTIVE")),
		ok, // DescribeTimeToLive
		ok, // UpdateTimeToLive
	}}
	if err := c.create(); err != nil {
		t.Fatal(err)
	}
	c.sent()
	for i, want := range map[int]string{
		1: `"BillingMode":"PAY_PER_REQUEST"`,
		5: `"TimeToLiveSpecification":{"AttributeName":"x","Enabled":true}`,
	} {
		if !strings.Contains(c.requests[i], want) {
			t.Errorf("request %d lacks %s: %s", i, want, c.requests[i])
		}
	}
}

func TestConfig(t *testing.T) {
	for _, test := range []struct {
		cfg  dynamo.Config
		want string
	}{
		{dynamo.Config{Endpoint: "http://127.0.0.1:1"}, "kv.dynamodb.table"},
		{dynamo.Config{Table: "t"}, "kv.dynamodb.region"},
	} {
		if _, err := dynamo.Open(t.Context(), test.cfg); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("Open(%+v): %v, want %s", test.cfg, err, test.want)
		}
	}
	t.Run("no credentials", func(t *testing.T) {
		t.Setenv("AWS_ACCESS_KEY_ID", "")
		t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
		began := time.Now()
		_, err := dynamo.Open(t.Context(), dynamo.Config{Table: "t", Endpoint: "http://127.0.0.1:1"})
		if err == nil || !strings.Contains(err.Error(), "no AWS credentials") || time.Since(began) > 20*time.Second {
			t.Errorf("Open: %v after %v", err, time.Since(began))
		}
	})
}
