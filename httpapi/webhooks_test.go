package httpapi

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"granary/kv/mem"
	"granary/webhook"
)

func TestWebhooks(t *testing.T) {
	var sent []string
	r := newRig(t, func(c *Config) {
		c.REST.Webhooks = webhook.New(webhook.Config{
			KV: mem.New(mem.Options{}), Registry: c.REST.Registry,
			Post: func(_ context.Context, url string, h http.Header, _ []byte) (int, error) {
				sent = append(sent, url+" "+h.Get(webhook.SignatureHeader)[:7])
				return 200, nil
			},
		})
	})
	const all = "/api/v1/webhooks"
	r.user("reader", "read", "*")
	for _, as := range []string{"", "reader"} {
		status := map[string]int{"": 401, "reader": 403}[as]
		r.do(as, "GET", all, nil).status(status)
		r.json(as, "POST", all, `{}`).status(status)
		for _, m := range []string{"GET", "PUT", "DELETE"} {
			r.json(as, m, all+"/x", `{}`).status(status)
		}
		r.do(as, "GET", all+"/x/deliveries", nil).status(status)
		r.do(as, "POST", all+"/x/test", nil).status(status)
	}
	r.json("admin", "POST", all, `{"name":"x"}`).fails(422, "BAD_REQUEST", "url")
	r.json("admin", "POST", all, `{"name":"x","url":"https://example.com/","topics":["x"]}`).fails(400, "BAD_REQUEST", "topics")
	got := r.json("admin", "POST", all, `{"name":"x","url":"https://example.com/","secret":"s3cret","topics":["artifacts"]}`).status(201).object()
	if got["secret"] != "********" || got["enabled"] != true {
		t.Errorf("webhook %v", got)
	}
	one := all + "/" + got["id"].(string)
	got = r.json("admin", "PUT", one, `{"secret":"********","enabled":false,"repos":["team-*"]}`).status(200).object()
	if got["enabled"] != false || got["name"] != "x" || got["secret"] != "********" {
		t.Errorf("webhook %v", got)
	}
	got = r.do("admin", "POST", one+"/test", nil).status(200).object()
	if got["state"] != "delivered" || got["response_code"] != 200.0 || strings.Join(sent, " ") != "https://example.com/ sha256=" {
		t.Errorf("delivery %v, sent %q", got, sent)
	}
	var list []map[string]any
	r.do("admin", "GET", one+"/deliveries", nil).status(200).decode(&list)
	if len(list) != 1 || list[0]["event"] != "ping" || list[0]["body"].(map[string]any)["id"] != list[0]["id"] {
		t.Errorf("deliveries %v", list)
	}
	if text := r.do("admin", "GET", all, nil).status(200).text; strings.Contains(text, "s3cret") {
		t.Errorf("the secret is shown: %s", text)
	}
	r.do("admin", "DELETE", one, nil).status(204)
	r.do("admin", "GET", one, nil).fails(404, "NOT_FOUND", "webhook")
	r.do("admin", "GET", one+"/deliveries", nil).status(404)
}
