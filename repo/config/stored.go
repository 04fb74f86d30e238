package config

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"granary/kv"
)

// Kinds of documents, and the ones of kind setting.
const (
	kindRepository = "repo"
	kindStore      = "store"
	kindName       = "name"
	kindDead       = "dead"
	kindSetting    = "setting"
	kindSigning    = "signing"
	kindWebhook    = "webhook"

	settingsID = "settings"
	sealID     = "seal"
)

// document is a pointer to a T with secrets.
type document[T any] interface {
	*T
	secrets() []*Secret
}

func (c *claim) secrets() []*Secret { return nil }

// encode makes the item of a document, its secrets sealed. It refuses what
// could not be read again, since that would keep every node from loading.
func encode[T any, P document[T]](r *Registry, key kv.Key, doc P) (kv.Item, error) {
	secrets := doc.secrets()
	clear := make([]Secret, len(secrets))
	for i, s := range secrets {
		clear[i] = *s
	}
	defer func() {
		for i, s := range secrets {
			*s = clear[i]
		}
	}()
	for _, s := range secrets {
		sealed, err := s.seal(r.o.Sealer)
		if err != nil {
			return kv.Item{}, fmt.Errorf("encode %v: %w", key, err)
		}
		*s = sealed
	}
	data, err := kv.Marshal(doc)
	if err != nil {
		return kv.Item{}, fmt.Errorf("encode %v: %w", key, err)
	}
	if err := kv.Unmarshal(data, new(T)); err != nil {
		return kv.Item{}, fmt.Errorf("encode %v so that it can be read: %w", key, err)
	}
	return kv.Item{Key: key, Value: data, Version: kv.NewVersion()}, nil
}

// decode reads a document into begin, the zero value or defaults.
func decode[T any, P document[T]](r *Registry, item kv.Item, begin T) (*T, error) {
	if err := kv.Unmarshal(item.Value, &begin); err != nil {
		return nil, fmt.Errorf("read configuration %v: %w", item.Key, err)
	}
	for _, s := range P(&begin).secrets() {
		*s = s.open(r.o.Sealer)
	}
	return &begin, nil
}

// get reads one document consistently; nil if there is none.
func get[T any, P document[T]](ctx context.Context, r *Registry, key kv.Key, begin T) (*T, kv.Item, error) {
	item, err := r.o.KV.Get(ctx, key, kv.Consistent)
	if errors.Is(err, kv.ErrNotFound) {
		return nil, kv.Item{}, nil
	}
	if err != nil {
		return nil, kv.Item{}, fmt.Errorf("read configuration %v: %w", key, err)
	}
	doc, err := decode[T, P](r, item, begin)
	return doc, item, err
}

// put writes item over the version old. The same write is sent until its
// outcome is known or ctx ends.
func (r *Registry) put(ctx context.Context, item kv.Item, old kv.Version) error {
	err := settle(ctx, func() error { return r.o.KV.PutIf(ctx, item, old) })
	if err != nil {
		return fmt.Errorf("write configuration %v: %w", item.Key, err)
	}
	return nil
}

// remove deletes the version old of an item. Another version, or none, is
// nothing to be removed.
func (r *Registry) remove(ctx context.Context, key kv.Key, old kv.Version) error {
	err := settle(ctx, func() error { return r.o.KV.DeleteIf(ctx, key, old) })
	if err != nil && !errors.Is(err, kv.ErrConflict) {
		return fmt.Errorf("remove configuration %v: %w", key, err)
	}
	return nil
}

func settle(ctx context.Context, write func() error) error {
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := write()
		if !errors.Is(err, kv.ErrUnknown) || !pause(ctx, wait) {
			return err
		}
	}
}

// pause waits with full jitter; false if ctx ended first.
func pause(ctx context.Context, mean time.Duration) bool {
	t := time.NewTimer(rand.N(2 * mean))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// again repeats try while it meets other writers.
func again(ctx context.Context, try func() error) error {
	const most = 32
	for n := 1; ; n++ {
		err := try()
		if !errors.Is(err, kv.ErrConflict) || n == most || !pause(ctx, time.Millisecond<<min(n, 7)) {
			return err
		}
	}
}

// seal is the value of cfg/setting seal: something known, sealed, by which a
// node with another key is told apart.
type seal struct {
	kv.Extra `cbor:"-"`

	Sample Secret `cbor:"1,keyasint"`
}

func (s *seal) secrets() []*Secret { return []*Secret{&s.Sample} }

// checkKey refuses to go on with a secret_key that is not the one which the
// stored secrets were sealed with.
func (r *Registry) checkKey(ctx context.Context) error {
	key := kv.Config(kindSetting, sealID)
	return again(ctx, func() error {
		found, _, err := get[seal](ctx, r, key, seal{})
		if err != nil {
			return err
		}
		if found != nil {
			if _, err := found.Sample.Reveal(); err != nil {
				return fmt.Errorf("%w: set the one that this data was written with", err)
			}
			return nil
		}
		if r.o.Sealer == nil {
			return nil
		}
		item, err := encode(r, key, &seal{Sample: NewSecret("granary")})
		if err != nil {
			return err
		}
		return r.put(ctx, item, "")
	})
}
