package dynamo_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"granary/kv/dynamo"
)

// A step answers one request.
type step func(w http.ResponseWriter, body string)

// script is a service that answers each request with the next step, and
// remembers what it was sent.
type script struct {
	t        *testing.T
	describe step

	mu       sync.Mutex // guards what follows
	steps    []step
	requests []string // operation and body
}

// serve starts a service whose table is as describe says, and opens it.
func serve(t *testing.T, cfg dynamo.Config, steps ...step) (*dynamo.Store, *script) {
	t.Helper()
	c := &script{t: t, describe: reply(described("arn:aws:dynamodb:x:1:table/t", "ACTIVE")), steps: steps}
	s, err := c.open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, c
}

func (c *script) open(cfg dynamo.Config) (*dynamo.Store, error) {
	server := httptest.NewServer(c)
	c.t.Cleanup(server.Close)
	cfg.Table, cfg.Endpoint = "t", server.URL
	return dynamo.Open(c.t.Context(), cfg)
}

func (c *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Errorf("read a request: %v", err)
	}
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	if operation == "DescribeTable" && c.describe != nil {
		c.describe(w, string(body))
		return
	}
	c.mu.Lock()
	c.requests = append(c.requests, operation+" "+c.sorted(body))
	next := fail(400, "ValidationException")
	if len(c.steps) > 0 {
		next, c.steps = c.steps[0], c.steps[1:]
	} else {
		c.t.Errorf("unexpected request: %s %s", operation, body)
	}
	c.mu.Unlock()
	next(w, string(body))
}

// sorted is body with its members in order: the SDK's come as they like.
func (c *script) sorted(body []byte) string {
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		c.t.Errorf("request %q: %v", body, err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		c.t.Errorf("request %q: %v", body, err)
	}
	return string(b)
}

// sent returns the operations that were asked for, and fails the test if steps
// are left.
func (c *script) sent() []string {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.steps) > 0 {
		c.t.Errorf("%d answers were not asked for", len(c.steps))
	}
	operations := make([]string, len(c.requests))
	for i, r := range c.requests {
		operations[i], _, _ = strings.Cut(r, " ")
	}
	return operations
}

// wantSame fails the test unless the first n requests are the same one.
func (c *script) wantSame(n int) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.requests) < n || len(slices.Compact(slices.Clone(c.requests[:n]))) != 1 {
		c.t.Errorf("requests differ or are fewer than %d: %q", n, c.requests)
	}
}

// reply is an answer of the service.
func reply(body any) step {
	b, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return func(w http.ResponseWriter, _ string) { _, _ = w.Write(b) }
}

// fail is an error of the service.
func fail(status int, code string) step {
	return func(w http.ResponseWriter, _ string) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"__type":"com.amazonaws.dynamodb.v20120810#%s","message":"as the script says"}`, code)
	}
}

// conflicting is a failed condition, with the old item if it has one.
func conflicting(item map[string]any) step {
	return func(w http.ResponseWriter, _ string) {
		w.WriteHeader(http.StatusBadRequest)
		answer := map[string]any{"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException", "message": "no"}
		if item != nil {
			answer["Item"] = item
		}
		_ = json.NewEncoder(w).Encode(answer)
	}
}

// drop loses the answer.
func drop(w http.ResponseWriter, _ string) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	_ = conn.Close()
}

// half breaks off within the answer.
func half(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Length", "100")
	_, _ = io.WriteString(w, `{"Attri`)
	_ = http.NewResponseController(w).Flush()
	drop(w, body)
}

// cutOff is a refusal that breaks off before it says why.
func cutOff(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Length", "100")
	w.WriteHeader(http.StatusBadRequest)
	half(w, body)
}

var ok = reply(map[string]any{})

// stored is an item as the service has it.
func stored(partition, sort, version string) map[string]any {
	return map[string]any{
		"p": map[string]string{"S": partition}, "s": map[string]string{"S": sort}, "n": map[string]string{"S": version},
	}
}

// described is the answer to DescribeTable.
func described(arn, status string) map[string]any {
	return map[string]any{"Table": map[string]any{
		"TableName": "t", "TableArn": arn, "TableStatus": status,
		"KeySchema": []map[string]string{
			{"AttributeName": "p", "KeyType": "HASH"}, {"AttributeName": "s", "KeyType": "RANGE"},
		},
		"AttributeDefinitions": []map[string]string{
			{"AttributeName": "p", "AttributeType": "S"}, {"AttributeName": "s", "AttributeType": "S"},
		},
	}}
}
