package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"granary/kv"
	"granary/repo/config"
)

const (
	// kept is how long a delivery can be looked up.
	kept = 7 * 24 * time.Hour
	// claimed is how long a delivery is left to the node that has begun it.
	claimed = time.Minute
	// attemptTime bounds one try.
	attemptTime = 10 * time.Second
)

// Delivery is something that a webhook is told, as stored.
type Delivery struct {
	kv.Extra `cbor:"-"`

	ID       string    `cbor:"1,keyasint"`
	Event    string    `cbor:"2,keyasint"`
	Body     []byte    `cbor:"3,keyasint"`
	Created  time.Time `cbor:"4,keyasint"`
	Attempts int       `cbor:"5,keyasint"`
	// Next is when it may be tried again, by any node.
	Next time.Time `cbor:"6,keyasint,omitzero"`
	// Status is what the last try was answered with, 0 if it was not; Error
	// why it failed.
	Status int    `cbor:"7,keyasint,omitempty"`
	Error  string `cbor:"8,keyasint,omitempty"`
	// Ended is when it was taken, or given up; zero while it is open.
	Ended time.Time `cbor:"9,keyasint,omitzero"`

	version kv.Version
}

// Delivered tells whether the receiver took it.
func (d Delivery) Delivered() bool { return !d.Ended.IsZero() && d.Error == "" }

// try makes one attempt, perhaps the last, and writes down how it went.
func (s *Sender) try(ctx context.Context, hook string, d Delivery, last bool) (Delivery, error) {
	w, err := s.Registry.Webhook(hook)
	if errors.Is(err, config.ErrNotFound) {
		return s.close(ctx, hook, d, "the webhook is gone")
	}
	if err != nil {
		return d, err
	}
	d.Attempts++
	d.Status, err = s.send(ctx, w, d)
	if ctx.Err() != nil {
		// It was not the receiver's fault; whoever goes on tries again.
		return d, fmt.Errorf("deliver to webhook %s: %w", w.Name, ctx.Err())
	}
	d.Error = ""
	switch {
	case err != nil:
		d.Error = err.Error()
	case d.Status < 200 || d.Status > 299:
		d.Error = fmt.Sprintf("answered %d %s", d.Status, http.StatusText(d.Status))
	}
	if d.Error == "" || last || d.Attempts > len(s.Wait) {
		return s.close(ctx, hook, d, d.Error)
	}
	d.Next = s.Now().Add(s.Wait[d.Attempts-1]).UTC()
	_, err = s.table.Replace(ctx, kv.Delivery(hook, d.ID, false), d, d.version)
	if errors.Is(err, kv.ErrConflict) {
		err = nil // it took so long that another node has begun anew
	}
	return d, err
}

// send signs and posts.
func (s *Sender) send(ctx context.Context, w *config.Webhook, d Delivery) (int, error) {
	h := http.Header{"Content-Type": {"application/json"}, EventHeader: {d.Event}, DeliveryHeader: {d.ID}}
	secret, err := w.Secret.Reveal()
	if err != nil {
		return 0, errors.New("the secret can't be opened")
	}
	if secret != "" {
		h.Set(SignatureHeader, Sign(secret, d.Body))
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	return s.Post(ctx, w.URL, h, d.Body)
}

// close moves a delivery to those that are done: written there first, so that
// it is never nowhere.
func (s *Sender) close(ctx context.Context, hook string, d Delivery, problem string) (Delivery, error) {
	d.Error, d.Ended, d.Next = problem, s.Now().UTC(), time.Time{}
	if _, err := s.table.Create(ctx, kv.Delivery(hook, d.ID, true), d); err != nil && !errors.Is(err, kv.ErrConflict) {
		return d, fmt.Errorf("note the end of a delivery: %w", err)
	}
	err := s.table.Delete(ctx, kv.Delivery(hook, d.ID, false), d.version)
	if err != nil && !errors.Is(err, kv.ErrConflict) {
		return d, fmt.Errorf("end a delivery: %w", err)
	}
	return d, nil
}

// due tries again what waits for it.
func (s *Sender) due(ctx context.Context) error {
	for _, w := range s.Registry.Webhooks() {
		for item, err := range s.KV.Query(ctx, kv.DeliveryPartition(w.ID, false), "", "") {
			if err != nil {
				return fmt.Errorf("look for deliveries of webhook %s: %w", w.Name, err)
			}
			var d Delivery
			if err := kv.Unmarshal(item.Value, &d); err != nil {
				return fmt.Errorf("delivery %v: %w", item.Key, err)
			}
			if d.Next.After(s.Now()) {
				continue
			}
			// Claimed first, so that nobody else tries it in this moment.
			d.Next = s.Now().Add(claimed).UTC()
			d.version, err = s.table.Replace(ctx, item.Key, d, item.Version)
			if errors.Is(err, kv.ErrConflict) {
				continue
			}
			if err != nil {
				return fmt.Errorf("claim a delivery of webhook %s: %w", w.Name, err)
			}
			select {
			case s.jobs <- job{w.ID, d}:
			case <-ctx.Done():
				return nil
			}
		}
	}
	return nil
}

// listed is how many deliveries are shown of each kind.
const listed = 100

// Deliveries returns the newest deliveries of a webhook: those that are open,
// then those that have ended, each newest first, at most 100 of both.
func (s *Sender) Deliveries(ctx context.Context, hook string) ([]Delivery, error) {
	var out []Delivery
	for _, done := range []bool{false, true} {
		var part []Delivery
		for item, err := range s.KV.Query(ctx, kv.DeliveryPartition(hook, done), "", "", kv.Consistent, kv.Reverse) {
			if err != nil {
				return nil, fmt.Errorf("read deliveries: %w", err)
			}
			var d Delivery
			if err := kv.Unmarshal(item.Value, &d); err != nil {
				return nil, fmt.Errorf("delivery %v: %w", item.Key, err)
			}
			if part = append(part, d); len(part) == listed {
				break
			}
		}
		out = append(out, part...)
	}
	return out, nil
}

// Test sends an event "ping" at once, whether the webhook is enabled or not,
// and returns how it went. It is not repeated.
func (s *Sender) Test(ctx context.Context, hook string) (Delivery, error) {
	w, err := s.Registry.Webhook(hook)
	if err != nil {
		return Delivery{}, err
	}
	ping, err := json.Marshal(map[string]string{"type": "ping", "webhook": w.Name})
	if err != nil {
		return Delivery{}, fmt.Errorf("write a ping: %w", err)
	}
	d, err := s.open(ctx, w, "webhooks", "ping", ping)
	if err != nil {
		return d, err
	}
	return s.try(ctx, hook, d, true)
}
