package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"time"

	"granary/httpapi/exchange"
	"granary/repo/config"
	"granary/webhook"
)

// Webhook is an address that is told of changes. The secret is masked.
type Webhook struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	URL       string    `json:"url"`
	Topics    []string  `json:"topics" nullable:"false" doc:"None is all of artifacts, repos, stores, tasks, users, roles, settings."`
	Repos     []string  `json:"repos" nullable:"false" doc:"Patterns on names of repositories; none is all."`
	Secret    *string   `json:"secret"`
	Enabled   bool      `json:"enabled"`
	CreatedAt Timestamp `json:"created_at"`
}

// WebhookFields are what can be set and changed.
type WebhookFields struct {
	Topics  optional[[]string] `json:"topics,omitempty"`
	Repos   optional[[]string] `json:"repos,omitempty"`
	Secret  optional[string]   `json:"secret,omitempty"`
	Enabled optional[bool]     `json:"enabled,omitempty"`
}

// CreateWebhookRequest is the body that makes a webhook.
type CreateWebhookRequest struct {
	Name string `json:"name"`
	URL  string `json:"url"`
	WebhookFields
}

// UpdateWebhookRequest is the body that changes one; what is absent stays.
type UpdateWebhookRequest struct {
	Name optional[string] `json:"name,omitempty"`
	URL  optional[string] `json:"url,omitempty"`
	WebhookFields
}

// WebhookDelivery is something that a webhook was told, or will be.
type WebhookDelivery struct {
	ID            string          `json:"id"`
	Event         string          `json:"event"`
	State         string          `json:"state" enum:"pending,delivered,failed"`
	Attempts      int             `json:"attempts"`
	ResponseCode  *int            `json:"response_code"`
	Error         *string         `json:"error"`
	CreatedAt     Timestamp       `json:"created_at"`
	NextAttemptAt Timestamp       `json:"next_attempt_at"`
	EndedAt       Timestamp       `json:"ended_at"`
	Body          json.RawMessage `json:"body"`
}

type identified struct {
	ID string `path:"id"`
}

func (a *api) webhooks() {
	if a.Webhooks == nil {
		return
	}
	const tag, one = "webhooks", "/webhooks/{id}"
	register(a, operation{id: "list-webhooks", method: http.MethodGet, path: "/webhooks", summary: "List webhooks", tag: tag}, a.listWebhooks)
	register(a, operation{
		id: "create-webhook", method: http.MethodPost, path: "/webhooks", summary: "Make a webhook", tag: tag,
		status: http.StatusCreated, reads: reflect.TypeFor[CreateWebhookRequest](),
	}, a.createWebhook)
	register(a, operation{id: "get-webhook", method: http.MethodGet, path: one, summary: "Get a webhook", tag: tag}, a.getWebhook)
	register(a, operation{
		id: "update-webhook", method: http.MethodPut, path: one, summary: "Change a webhook", tag: tag, reads: reflect.TypeFor[UpdateWebhookRequest](),
	}, a.updateWebhook)
	register(a, operation{
		id: "delete-webhook", method: http.MethodDelete, path: one, summary: "Delete a webhook", tag: tag, status: http.StatusNoContent,
	}, a.deleteWebhook)
	register(a, operation{
		id: "test-webhook", method: http.MethodPost, path: one + "/test", summary: "Send a ping now, and tell how it went", tag: tag,
	}, a.testWebhook)
	register(a, operation{
		id: "list-deliveries", method: http.MethodGet, path: one + "/deliveries", summary: "List what the webhook was told in the last days", tag: tag,
	}, a.listDeliveries)
}

func showWebhook(w *config.Webhook) Webhook {
	out := Webhook{
		ID: w.ID, Name: w.Name, URL: w.URL, Topics: orEmpty(w.Topics), Repos: orEmpty(w.Repos), Enabled: w.Enabled, CreatedAt: Timestamp(w.Created),
	}
	if !w.Secret.IsZero() {
		out.Secret = filled(config.Mask)
	}
	return out
}

func (in *WebhookFields) apply(w *config.Webhook) error {
	plain(in.Topics, &w.Topics, nil)
	plain(in.Repos, &w.Repos, nil)
	plain(in.Enabled, &w.Enabled, true)
	switch s := in.Secret; {
	case s.set && s.value == config.Mask:
		if w.Secret.IsZero() {
			return invalid("secret", "there is no stored secret that %s could stand for", config.Mask)
		}
	case s.set:
		w.Secret = config.NewSecret(s.value)
	}
	return nil
}

func (a *api) listWebhooks(_ context.Context, x *exchange.Exchange, _ *none) (*answer[[]Webhook], error) {
	if err := x.Administer(); err != nil {
		return nil, err
	}
	out := []Webhook{}
	for _, w := range a.Registry.Webhooks() {
		out = append(out, showWebhook(w))
	}
	return &answer[[]Webhook]{out}, nil
}

func (a *api) createWebhook(ctx context.Context, x *exchange.Exchange, _ *none) (*answer[Webhook], error) {
	if err := x.Administer(); err != nil {
		return nil, err
	}
	p, err := a.read(x, maxBody)
	if err != nil {
		return nil, err
	}
	var in CreateWebhookRequest
	if err := p.decode(&in); err != nil {
		return nil, err
	}
	w, err := a.Registry.CreateWebhook(ctx, func(w *config.Webhook) error {
		w.Name, w.URL = in.Name, in.URL
		return in.apply(w)
	})
	if err != nil {
		return nil, err
	}
	return &answer[Webhook]{showWebhook(w)}, nil
}

// hook is the webhook in the path, for administrators.
func (a *api) hook(x *exchange.Exchange, in *identified) (*config.Webhook, error) {
	if err := x.Administer(); err != nil {
		return nil, err
	}
	id, err := segment(in.ID)
	if err != nil {
		return nil, err
	}
	return a.Registry.Webhook(id)
}

func (a *api) getWebhook(_ context.Context, x *exchange.Exchange, in *identified) (*answer[Webhook], error) {
	w, err := a.hook(x, in)
	if err != nil {
		return nil, err
	}
	return &answer[Webhook]{showWebhook(w)}, nil
}

func (a *api) updateWebhook(ctx context.Context, x *exchange.Exchange, in *identified) (*answer[Webhook], error) {
	w, err := a.hook(x, in)
	if err != nil {
		return nil, err
	}
	p, err := a.read(x, maxBody)
	if err != nil {
		return nil, err
	}
	var body UpdateWebhookRequest
	if err := p.decode(&body); err != nil {
		return nil, err
	}
	w, err = a.Registry.UpdateWebhook(ctx, w.ID, func(w *config.Webhook) error {
		plain(body.Name, &w.Name, "")
		plain(body.URL, &w.URL, "")
		return body.apply(w)
	})
	if err != nil {
		return nil, err
	}
	return &answer[Webhook]{showWebhook(w)}, nil
}

func (a *api) deleteWebhook(ctx context.Context, x *exchange.Exchange, in *identified) (*none, error) {
	w, err := a.hook(x, in)
	if err != nil {
		return nil, err
	}
	return nil, a.Registry.DeleteWebhook(ctx, w.ID)
}

func showDelivery(d webhook.Delivery) WebhookDelivery {
	out := WebhookDelivery{
		ID: d.ID, Event: d.Event, State: "pending", Attempts: d.Attempts, Error: filled(d.Error), CreatedAt: Timestamp(d.Created),
		NextAttemptAt: Timestamp(d.Next), EndedAt: Timestamp(d.Ended), Body: d.Body,
	}
	if d.Status != 0 {
		out.ResponseCode = &d.Status
	}
	switch {
	case d.Delivered():
		out.State = "delivered"
	case !d.Ended.IsZero():
		out.State = "failed"
	}
	return out
}

// testTime bounds a test.
const testTime = 15 * time.Second

func (a *api) testWebhook(ctx context.Context, x *exchange.Exchange, in *identified) (*answer[WebhookDelivery], error) {
	w, err := a.hook(x, in)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, testTime)
	defer cancel()
	d, err := a.Webhooks.Test(ctx, w.ID)
	if err != nil {
		return nil, err
	}
	return &answer[WebhookDelivery]{showDelivery(d)}, nil
}

func (a *api) listDeliveries(ctx context.Context, x *exchange.Exchange, in *identified) (*answer[[]WebhookDelivery], error) {
	w, err := a.hook(x, in)
	if err != nil {
		return nil, err
	}
	list, err := a.Webhooks.Deliveries(ctx, w.ID)
	if err != nil {
		return nil, err
	}
	out := []WebhookDelivery{}
	for _, d := range list {
		out = append(out, showDelivery(d))
	}
	return &answer[[]WebhookDelivery]{out}, nil
}
