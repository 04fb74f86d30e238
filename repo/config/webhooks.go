package config

import (
	"context"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"granary/kv"
)

// WebhookTopics are what a webhook may ask for.
var WebhookTopics = []string{"artifacts", "repos", "stores", "tasks", "users", "roles", "settings"}

// maxWebhooks bounds what each change is sent to.
const maxWebhooks = 100

// Webhook is an address that is told of changes.
type Webhook struct {
	kv.Extra `cbor:"-"`

	ID      string    `cbor:"1,keyasint"`
	Name    string    `cbor:"2,keyasint"`
	URL     string    `cbor:"3,keyasint"`
	Topics  []string  `cbor:"4,keyasint,omitempty"` // none: all
	Repos   []string  `cbor:"5,keyasint,omitempty"` // globs on names of repositories; none: all
	Secret  Secret    `cbor:"6,keyasint"`           // what deliveries are signed with
	Enabled bool      `cbor:"7,keyasint"`
	Created time.Time `cbor:"8,keyasint"`
}

func (w *Webhook) secrets() []*Secret { return []*Secret{&w.Secret} }

// Wants tells whether the webhook is sent what happens in a topic; repository
// is "" where it happens in none.
func (w *Webhook) Wants(topic, repository string) bool {
	if !w.Enabled || len(w.Topics) > 0 && !slices.Contains(w.Topics, topic) {
		return false
	}
	return repository == "" || len(w.Repos) == 0 || slices.ContainsFunc(w.Repos, func(glob string) bool {
		ok, err := path.Match(glob, repository)
		return ok && err == nil
	})
}

// Validate returns a [FieldError] for the first rule that w breaks.
func (w *Webhook) Validate() error {
	name := strings.TrimSpace(w.Name)
	return first(
		func() error {
			if name == "" || name != w.Name {
				return invalid("name", "must not be empty, nor begin or end with a space")
			}
			return text("name", w.Name, 128)
		}(),
		httpURL("url", w.URL),
		list("topics", w.Topics, func(t string) error {
			if !slices.Contains(WebhookTopics, t) {
				return invalid("topics", "%.64q is none of %s", t, strings.Join(WebhookTopics, ", "))
			}
			return nil
		}),
		list("repos", w.Repos, func(glob string) error {
			if _, err := path.Match(glob, ""); err != nil {
				return invalid("repos", "%.64q is no pattern", glob)
			}
			return text("repos", glob, 64)
		}),
	)
}

// Webhooks returns all webhooks in the order in which they were made, from
// memory.
func (r *Registry) Webhooks() []*Webhook {
	hooks := r.current.Load().webhooks
	out := make([]*Webhook, 0, len(hooks))
	for _, id := range slices.Sorted(maps.Keys(hooks)) { // ids begin with the time
		out = append(out, hooks[id].value)
	}
	return out
}

// Webhook returns a webhook, from memory.
func (r *Registry) Webhook(id string) (*Webhook, error) {
	if l, ok := r.current.Load().webhooks[id]; ok {
		return l.value, nil
	}
	return nil, notFound("webhook", id)
}

// CreateWebhook makes a webhook; fill sets its fields.
func (r *Registry) CreateWebhook(ctx context.Context, fill func(*Webhook) error) (*Webhook, error) {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	if len(r.current.Load().webhooks) >= maxWebhooks {
		return nil, invalid("name", "there are %d webhooks already", maxWebhooks)
	}
	w := &Webhook{Enabled: true}
	if err := fill(w); err != nil {
		return nil, err
	}
	w.ID, w.Created = r.o.NewID(), r.o.Now().UTC().Truncate(time.Millisecond)
	if err := w.Validate(); err != nil {
		return nil, err
	}
	item, err := encode(r, kv.Config(kindWebhook, w.ID), w)
	if err != nil {
		return nil, err
	}
	if err := r.put(ctx, item, ""); err != nil {
		return nil, err
	}
	return w, r.changed(ctx)
}

// UpdateWebhook changes a webhook. change gets a copy of its own and may be
// called again when another writer was faster.
func (r *Registry) UpdateWebhook(ctx context.Context, id string, change func(*Webhook) error) (*Webhook, error) {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	key := kv.Config(kindWebhook, id)
	var w *Webhook
	err := again(ctx, func() error {
		var item kv.Item
		var err error
		if w, item, err = get(ctx, r, key, Webhook{}); err != nil {
			return err
		}
		if w == nil {
			return notFound("webhook", id)
		}
		before := *w
		if err := change(w); err != nil {
			return err
		}
		w.ID, w.Created, w.Extra = before.ID, before.Created, before.Extra
		if err := w.Validate(); err != nil {
			return err
		}
		next, err := encode(r, key, w)
		if err != nil {
			return err
		}
		return r.put(ctx, next, item.Version)
	})
	if err != nil {
		return nil, err
	}
	return w, r.changed(ctx)
}

// DeleteWebhook removes a webhook.
func (r *Registry) DeleteWebhook(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	key := kv.Config(kindWebhook, id)
	err := again(ctx, func() error {
		w, item, err := get(ctx, r, key, Webhook{})
		if err != nil {
			return err
		}
		if w == nil {
			return notFound("webhook", id)
		}
		return settleRemoval(ctx, r.o.KV, item)
	})
	if err != nil {
		return err
	}
	return r.changed(ctx)
}
