package config

import (
	"context"
	"testing"
	"time"

	"granary/kv"
	"granary/kv/mem"
)

var testFormats = []string{"raw", "golang", "yum", "apt", "docker"}

func newStore(t *testing.T, change ...func(*mem.Options)) *mem.Store {
	o := mem.Options{Misuse: func(err error) { t.Error(err) }}
	for _, f := range change {
		f(&o)
	}
	return mem.New(o)
}

func open(t *testing.T, s kv.Store, change ...func(*Options)) *Registry {
	t.Helper()
	o := Options{KV: s, Formats: testFormats, DefaultShards: 4}
	for _, f := range change {
		f(&o)
	}
	r := Open(o)
	if err := r.Load(t.Context()); err != nil {
		t.Fatalf("Load: %v", err)
	}
	return r
}

// withStore makes the store "default" and returns its id.
func withStore(t *testing.T, r *Registry) string {
	t.Helper()
	s, err := r.CreateStore(t.Context(), "default", fileStore("blobs"))
	if err != nil {
		t.Fatalf("CreateStore: %v", err)
	}
	return s.ID
}

func fileStore(root string) func(*Store) error {
	return func(s *Store) error {
		*s = NewStore(File)
		s.Root = root
		return nil
	}
}

func hosted(store string) func(*Repository) error {
	return func(r *Repository) error {
		r.Type, r.Format, r.Store = Hosted, "raw", store
		return nil
	}
}

func group(store string, members ...string) func(*Repository) error {
	return func(r *Repository) error {
		r.Type, r.Format, r.Store, r.Members = Proxy, "raw", store, members
		return nil
	}
}

func create(t *testing.T, r *Registry, name string, fill func(*Repository) error) *Repository {
	t.Helper()
	repo, err := r.CreateRepository(t.Context(), name, fill)
	if err != nil {
		t.Fatalf("CreateRepository %s: %v", name, err)
	}
	return repo
}

func load(t *testing.T, all ...*Registry) {
	t.Helper()
	for _, r := range all {
		if err := r.Load(t.Context()); err != nil {
			t.Fatalf("Load: %v", err)
		}
	}
}

// shared joins registries as a cluster does: a change reaches all of them.
func shared(all ...*Registry) {
	for _, r := range all {
		r.SetNotifier(func(ctx context.Context) error {
			for _, o := range all {
				if err := o.Load(ctx); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

func ptr[T any](v T) *T { return &v }

// later is a clock that tests move.
type later struct{ by time.Duration }

func (l *later) now() time.Time { return time.Now().Add(l.by) }
