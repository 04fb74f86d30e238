package config_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"granary/cluster"
	"granary/kv/mem"
	"granary/repo/config"
)

// What was changed on one node holds on the other when the call returns.
func TestChangeHoldsOnEveryNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mem.New(mem.Options{Misuse: func(err error) { t.Error(err) }})
		join := func() (*config.Registry, *cluster.Node) {
			r := config.Open(config.Options{KV: s, Formats: []string{"raw"}})
			n, err := cluster.Join(t.Context(), cluster.Config{KV: s, Load: r.Load})
			if err != nil {
				t.Fatal(err)
			}
			r.SetNotifier(n.Changed)
			return r, n
		}
		a, na := join()
		b, nb := join()
		store, err := a.CreateStore(t.Context(), "default", func(s *config.Store) error {
			*s = config.NewStore(config.File)
			s.Root = "blobs"
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			made, err := a.CreateRepository(t.Context(), "mine", func(r *config.Repository) error {
				r.Type, r.Format, r.Store = config.Hosted, "raw", store.ID
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := b.RepositoryByID(made.ID); !ok {
				t.Error("the other node does not know a new repository")
			}
			if _, err := b.DeleteRepository(t.Context(), "mine"); err != nil {
				t.Fatal(err)
			}
			if _, ok := a.RepositoryByID(made.ID); ok {
				t.Error("the other node serves a deleted repository")
			}
			if _, err := a.Repository(t.Context(), "mine"); !errors.Is(err, config.ErrNotFound) {
				t.Errorf("Repository = %v, want ErrNotFound", err)
			}
		}
		for _, n := range []*cluster.Node{na, nb} {
			if err := n.Close(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		}
	})
}
