package config

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"granary/kv"
	"granary/kv/chaos"
	"granary/kv/mem"
)

func TestStores(t *testing.T) {
	s := newStore(t)
	var probed []string
	bad := errors.New("can't reach it")
	var probe error
	r := open(t, s, func(o *Options) {
		o.Probe = func(_ context.Context, s *Store) error { probed = append(probed, s.Name); return probe }
	})
	made, err := r.CreateStore(t.Context(), "bucket", func(s *Store) error {
		*s = NewStore(S3)
		s.Bucket, s.AccessKey, s.SecretKey = "granary", "id", NewSecret("key")
		return nil
	})
	if err != nil || made.Region != "us-east-1" || len(made.ID) != 26 || len(probed) != 1 {
		t.Fatalf("CreateStore = %+v, %v, probed %v", made, err, probed)
	}
	now, err := r.UpdateStore(t.Context(), "bucket", func(s *Store) error {
		s.MaxRetries, s.ID, s.Name = 0, "x", "y"
		return nil
	})
	if err != nil || now.MaxRetries != 0 || now.ID != made.ID || now.Name != "bucket" || !now.SecretKey.Equal(NewSecret("key")) {
		t.Errorf("UpdateStore = %+v, %v", now, err)
	}
	_, err = r.UpdateStore(t.Context(), "bucket", func(s *Store) error { s.Type = File; return nil })
	wantField(t, err, "store_type", false)
	_, err = r.UpdateStore(t.Context(), "bucket", func(s *Store) error { s.MaxRetries = -1; return nil })
	wantField(t, err, "max_retries", false)
	if _, err := r.UpdateStore(t.Context(), "none", func(*Store) error { return nil }); !errors.Is(err, ErrNotFound) {
		t.Errorf("UpdateStore = %v, want ErrNotFound", err)
	}
	probe = bad
	if _, err := r.CreateStore(t.Context(), "more", fileStore("x")); !errors.Is(err, bad) || !errors.Is(err, ErrInvalid) {
		t.Errorf("CreateStore = %v, want the probe's error as ErrInvalid", err)
	}
	if _, err := r.Store(t.Context(), "more"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Store = %v, want ErrNotFound", err)
	}
	other := open(t, s)
	if st, ok := other.StoreByID(made.ID); !ok || st.MaxRetries != 0 || st.Region != "us-east-1" {
		t.Errorf("StoreByID = %+v, %v", st, ok)
	}
}

func TestDeleteStore(t *testing.T) {
	r := open(t, newStore(t))
	store := withStore(t, r)
	create(t, r, "mine", hosted(store))
	if err := r.DeleteStore(t.Context(), "default", nil); !errors.Is(err, ErrInUse) {
		t.Errorf("DeleteStore = %v, want ErrInUse", err)
	}
	create(t, r, "yours", hosted(store)) // the attempt left no mark
	for _, name := range []string{"mine", "yours"} {
		if _, err := r.DeleteRepository(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	blobs := errors.New("blobs are left")
	if err := r.DeleteStore(t.Context(), "default", func(context.Context, *Store) error { return blobs }); !errors.Is(err, blobs) {
		t.Errorf("DeleteStore = %v, want the caller's error", err)
	}
	if err := r.DeleteStore(t.Context(), "default", nil); err != nil {
		t.Errorf("DeleteStore = %v", err)
	}
	if err := r.DeleteStore(t.Context(), "default", nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("DeleteStore again = %v, want ErrNotFound", err)
	}
	_, err := r.CreateRepository(t.Context(), "mine", hosted(store))
	wantField(t, err, "store", false)
}

// A store is deleted while a repository is made on it, the one as a whole
// between any two steps of the other: never do both succeed.
func TestStoreDeletedWhileUsed(t *testing.T) {
	for _, outer := range []string{"create", "delete"} {
		step := 1
		for ; ; step++ {
			var inner func()
			calls, armed := 0, false
			s := newStore(t, func(o *mem.Options) {
				o.Before = func(mem.Op) error {
					if armed {
						if calls++; calls == step {
							armed = false
							inner()
						}
					}
					return nil
				}
			})
			a, b := open(t, s), open(t, s)
			store := withStore(t, a)
			load(t, b)
			var made, deleted error
			makeIt := func() { _, made = a.CreateRepository(t.Context(), "mine", hosted(store)) }
			deleteIt := func() { deleted = b.DeleteStore(t.Context(), "default", nil) }
			run := map[string]func(){"create": makeIt, "delete": deleteIt}
			inner = run[map[string]string{"create": "delete", "delete": "create"}[outer]]
			armed = true
			run[outer]()
			if armed {
				break // it has fewer steps
			}
			if made == nil && deleted == nil {
				t.Errorf("%s, step %d: a repository lies on a store that was deleted", outer, step)
			}
			if made != nil && !errors.Is(made, ErrInvalid) || deleted != nil && !errors.Is(deleted, ErrInUse) {
				t.Errorf("%s, step %d: CreateRepository = %v, DeleteStore = %v", outer, step, made, deleted)
			}
			load(t, a)
			if n := len(a.Repositories()); (made == nil) != (n == 1) {
				t.Errorf("%s, step %d: %d repositories after %v", outer, step, n, made)
			}
		}
		if step < 6 {
			t.Errorf("%s was interrupted at %d steps only", outer, step-1)
		}
	}
}

// Replies get lost and reads are stale: every call does what it says.
func TestLostReplies(t *testing.T) { synctest.Test(t, testLostReplies) }

func testLostReplies(t *testing.T) {
	inner := newStore(t)
	rough := chaos.New(inner, chaos.Options{Seed: 7, Lost: 0.4, Stale: 0.9, Lag: 1 << 40})
	a, b := open(t, rough), open(t, rough)
	shared(a, b)
	store := withStore(t, a)
	for i := range 30 {
		r, o := a, b
		if i%2 == 1 {
			r, o = b, a
		}
		made := create(t, r, "one", hosted(store))
		if _, err := o.RenameRepository(t.Context(), "one", "two"); err != nil {
			t.Fatalf("RenameRepository: %v", err)
		}
		if _, err := r.UpdateRepository(t.Context(), "two", func(r *Repository) error { r.QuotaBytes = ptr(int64(i)); return nil }); err != nil {
			t.Fatalf("UpdateRepository: %v", err)
		}
		if repo, err := o.Repository(t.Context(), "two"); err != nil || repo.ID != made.ID || *repo.QuotaBytes != int64(i) {
			t.Fatalf("Repository = %+v, %v", repo, err)
		}
		if _, err := o.DeleteRepository(t.Context(), "two"); err != nil {
			t.Fatalf("DeleteRepository: %v", err)
		}
		if _, err := r.CreateStore(t.Context(), "more", fileStore("more")); err != nil {
			t.Fatalf("CreateStore: %v", err)
		}
		if err := o.DeleteStore(t.Context(), "more", nil); err != nil {
			t.Fatalf("DeleteStore: %v", err)
		}
	}
	left := 0
	for _, kind := range []string{kindRepository, kindName} {
		for _, err := range inner.Query(t.Context(), kv.ConfigPartition(kind), "", "") {
			if err != nil {
				t.Fatal(err)
			}
			left++
		}
	}
	if left != 0 {
		t.Errorf("%d documents are left of nothing", left)
	}
}
