package config

import (
	"context"
	"errors"
	"fmt"

	"granary/kv"
)

// ErrNoKey is returned for sealing without a secret_key.
var ErrNoKey = errors.New("config: there is no secret_key")

// Reseal writes every stored document with secrets again, so that all of them
// are sealed with the secret_key in force, and returns how many it wrote. A
// secret that no key opens is ErrSealed.
func (r *Registry) Reseal(ctx context.Context) (int, error) {
	if r.o.Sealer == nil {
		return 0, ErrNoKey
	}
	total := 0
	for _, kind := range []func() (int, error){
		func() (int, error) { return resealKind[Repository](ctx, r, kindRepository) },
		func() (int, error) { return resealKind[Store](ctx, r, kindStore) },
		func() (int, error) { return resealKind[Signing](ctx, r, kindSigning) },
		func() (int, error) { return resealKind[Webhook](ctx, r, kindWebhook) },
		func() (int, error) { return resealOne[seal](ctx, r, kv.Config(kindSetting, sealID)) },
	} {
		n, err := kind()
		total += n
		if err != nil {
			return total, fmt.Errorf("seal again: %w", err)
		}
	}
	return total, r.changed(ctx)
}

func resealKind[T any, P document[T]](ctx context.Context, r *Registry, kind string) (int, error) {
	total := 0
	for item, err := range r.o.KV.Query(ctx, kv.ConfigPartition(kind), "", "", kv.Consistent, kv.KeysOnly) {
		if err != nil {
			return total, fmt.Errorf("read configuration of kind %s: %w", kind, err)
		}
		n, err := resealOne[T, P](ctx, r, item.Key)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// resealOne returns 1 if it wrote the document, 0 for one without secrets.
func resealOne[T any, P document[T]](ctx context.Context, r *Registry, key kv.Key) (wrote int, err error) {
	err = again(ctx, func() error {
		var zero T
		doc, item, err := get[T, P](ctx, r, key, zero)
		if err != nil || doc == nil {
			return err
		}
		some := false
		for _, s := range P(doc).secrets() {
			if _, err := s.Reveal(); err != nil {
				return fmt.Errorf("%v: %w", key, err)
			}
			some = some || !s.IsZero()
		}
		if !some {
			return nil
		}
		next, err := encode[T, P](r, key, doc)
		if err != nil {
			return err
		}
		wrote = 1
		return r.put(ctx, next, item.Version)
	})
	if err != nil {
		wrote = 0
	}
	return wrote, err
}
