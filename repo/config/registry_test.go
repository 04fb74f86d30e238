package config

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"granary/kv"
	"granary/kv/mem"
)

func TestCreateIsSeenEverywhere(t *testing.T) {
	s := newStore(t)
	a, b := open(t, s), open(t, s)
	store := withStore(t, a)
	made := create(t, a, "mine", hosted(store))
	if made.Name != "mine" || len(made.ID) != 26 || made.Shards != 4 || time.Since(made.Created) > time.Minute {
		t.Errorf("made %+v", made)
	}
	// b has not heard of it: it looks.
	got, err := b.Repository(t.Context(), "mine")
	if err != nil || got.ID != made.ID {
		t.Errorf("Repository = %+v, %v", got, err)
	}
	if st, err := b.Store(t.Context(), "default"); err != nil || st.ID != store {
		t.Errorf("Store = %+v, %v", st, err)
	}
	for _, name := range []string{"other", "", "a/b", "API", "api"} {
		if _, err := b.Repository(t.Context(), name); !errors.Is(err, ErrNotFound) {
			t.Errorf("Repository(%q) = %v, want ErrNotFound", name, err)
		}
	}
	if _, ok := b.RepositoryByID(made.ID); ok {
		t.Error("RepositoryByID knows what was not loaded")
	}
	load(t, b)
	if got, ok := b.RepositoryByID(made.ID); !ok || got.Name != "mine" {
		t.Errorf("RepositoryByID = %+v, %v", got, ok)
	}
	if all := b.Repositories(); len(all) != 1 || all[0].ID != made.ID {
		t.Errorf("Repositories = %v", all)
	}
	if all := b.Stores(); len(all) != 1 || b.StoreName(store) != "default" {
		t.Errorf("Stores = %v", all)
	}
}

func TestDocumentsKeepTheirAddress(t *testing.T) {
	s := newStore(t)
	r := open(t, s)
	store := withStore(t, r)
	h := create(t, r, "h", hosted(store))
	create(t, r, "gone", hosted(store))
	gone, _ := r.Repository(t.Context(), "gone")
	g := create(t, r, "g", group(store, h.ID, gone.ID))
	r.leave(t, gone)
	get := func(id string) *Repository { repo, _ := r.RepositoryByID(id); return repo }
	oldH, oldG := get(h.ID), get(g.ID)
	if len(oldG.Members) != 1 {
		t.Fatalf("members = %v", oldG.Members)
	}
	load(t, r)
	load(t, r)
	if get(h.ID) != oldH || get(g.ID) != oldG {
		t.Error("a load without a change has replaced documents")
	}
	if _, err := r.UpdateRepository(t.Context(), "h", func(h *Repository) error { h.PresignedRedirects = true; return nil }); err != nil {
		t.Fatal(err)
	}
	if now := get(h.ID); now == oldH || !now.PresignedRedirects || oldH.PresignedRedirects {
		t.Error("an update has not replaced the document, or changed the old one")
	}
}

// leave deletes a repository as a process does that dies right after the write
// that counts.
func (r *Registry) leave(t *testing.T, repo *Repository) {
	t.Helper()
	item, err := encode(r, kv.Config(kindDead, repo.ID), &Dead{Repository: *repo})
	if err == nil {
		err = r.o.KV.PutIf(t.Context(), item, "")
	}
	if err != nil {
		t.Fatal(err)
	}
	load(t, r)
}

func TestExistsBeforeAnythingElse(t *testing.T) {
	r := open(t, newStore(t))
	store := withStore(t, r)
	create(t, r, "mine", hosted(store))
	_, err := r.CreateRepository(t.Context(), "mine", func(*Repository) error {
		t.Error("the body was judged")
		return errors.New("bad body")
	})
	if !errors.Is(err, ErrExists) {
		t.Errorf("CreateRepository = %v, want ErrExists", err)
	}
	_, err = r.CreateStore(t.Context(), "default", func(*Store) error {
		t.Error("the body was judged")
		return errors.New("bad body")
	})
	if !errors.Is(err, ErrExists) {
		t.Errorf("CreateStore = %v, want ErrExists", err)
	}
	for _, name := range []string{"", "api", "A"} {
		if _, err := r.CreateRepository(t.Context(), name, hosted(store)); !errors.Is(err, ErrInvalid) {
			t.Errorf("CreateRepository(%q) = %v, want ErrInvalid", name, err)
		}
	}
	bad := errors.New("bad body")
	if _, err := r.CreateRepository(t.Context(), "new", func(*Repository) error { return bad }); !errors.Is(err, bad) {
		t.Errorf("CreateRepository = %v, want the body's error", err)
	}
	create(t, r, "new", hosted(store)) // nothing was left of it
}

func TestTwelveAtOnce(t *testing.T) {
	s := newStore(t)
	a, b := open(t, s), open(t, s)
	store := withStore(t, a)
	shared(a, b)
	load(t, b)
	for round := range 10 {
		var made, madeStores, refused atomic.Int64
		var all sync.WaitGroup
		for i := range 12 {
			r := []*Registry{a, b}[i%2]
			all.Go(func() {
				_, err := r.CreateRepository(t.Context(), fmt.Sprintf("r%d", round), hosted(store))
				switch {
				case err == nil:
					made.Add(1)
				case errors.Is(err, ErrExists):
					refused.Add(1)
				default:
					t.Errorf("CreateRepository: %v", err)
				}
				_, err = r.CreateStore(t.Context(), fmt.Sprintf("s%d", round), fileStore(fmt.Sprintf("dir%d", round)))
				if err == nil {
					madeStores.Add(1)
				} else if !errors.Is(err, ErrExists) && !errors.Is(err, ErrInvalid) { // the root is taken, too
					t.Errorf("CreateStore: %v", err)
				}
			})
		}
		all.Wait()
		if made.Load() != 1 || refused.Load() != 11 || madeStores.Load() != 1 {
			t.Fatalf("made %d repositories, refused %d, made %d stores", made.Load(), refused.Load(), madeStores.Load())
		}
	}
	if n := len(a.Repositories()); n != 10 {
		t.Errorf("%d repositories, want 10", n)
	}
}

func TestUpdateKeepsWhatItMust(t *testing.T) {
	r := open(t, newStore(t))
	store := withStore(t, r)
	made := create(t, r, "mine", hosted(store))
	for _, tt := range []struct {
		field  string
		change func(*Repository)
	}{
		{"name", func(r *Repository) { r.Name = "other" }},
		{"name", func(r *Repository) { r.ID = "x" }},
		{"name", func(r *Repository) { r.Shards++ }},
		{"repo_type", func(r *Repository) { r.Type = Proxy }},
		{"format", func(r *Repository) { r.Format = "golang" }},
		{"store", func(r *Repository) { r.Store = "x" }},
		{"quota_bytes", func(r *Repository) { r.QuotaBytes = ptr(int64(-1)) }},
	} {
		_, err := r.UpdateRepository(t.Context(), "mine", func(r *Repository) error { tt.change(r); return nil })
		var f *FieldError
		if !errors.As(err, &f) || f.Field != tt.field {
			t.Errorf("UpdateRepository = %v, want a FieldError of %s", err, tt.field)
		}
	}
	bad := errors.New("bad")
	if _, err := r.UpdateRepository(t.Context(), "mine", func(*Repository) error { return bad }); !errors.Is(err, bad) {
		t.Errorf("UpdateRepository = %v", err)
	}
	if _, err := r.UpdateRepository(t.Context(), "other", func(*Repository) error { return nil }); !errors.Is(err, ErrNotFound) {
		t.Errorf("UpdateRepository = %v, want ErrNotFound", err)
	}
	now, err := r.UpdateRepository(t.Context(), "mine", func(r *Repository) error {
		*r = Repository{
			ID: r.ID, Name: r.Name, Type: r.Type, Format: r.Format, Store: r.Store, Shards: r.Shards, Created: r.Created, QuotaBytes: ptr(int64(5)),
		}
		return nil
	})
	if err != nil || *now.QuotaBytes != 5 || now.ID != made.ID {
		t.Errorf("UpdateRepository = %+v, %v", now, err)
	}
}

// Rules change with what documents show, and are never what they were.
func TestRules(t *testing.T) {
	r := open(t, newStore(t))
	store := withStore(t, r)
	create(t, r, "mine", func(r *Repository) error { r.Type, r.Format, r.Store = Hosted, "apt", store; return nil })
	seen := map[string]bool{}
	for _, tt := range []struct {
		name   string
		change func(*Repository)
		want   bool
	}{
		{"nothing", func(*Repository) {}, false},
		{"a quota", func(r *Repository) { r.QuotaBytes = ptr(int64(5)) }, false},
		{"a quarantine", func(r *Repository) {
			r.Quarantine = []Quarantined{{Item: "a@1", Reason: "x"}, {Item: "a@2", Reason: "x"}}
		}, true},
		{"its reason", func(r *Repository) { r.Quarantine[0].Reason = "y" }, false},
		{"less of it", func(r *Repository) { r.Quarantine = slices.Delete(r.Quarantine, 0, 1) }, true},
		{"none of it", func(r *Repository) { r.Quarantine = nil }, true},
		{"architectures", func(r *Repository) { r.Architectures = []string{"arm64"} }, true},
		{"no architectures", func(r *Repository) { r.Architectures = nil }, true},
		{"itself", func(r *Repository) { r.Rules = "x" }, false},
	} {
		before, err := r.UpdateRepository(t.Context(), "mine", func(*Repository) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		was := before.Rules
		now, err := r.UpdateRepository(t.Context(), "mine", func(r *Repository) error { tt.change(r); return nil })
		if err != nil {
			t.Fatal(err)
		}
		if got := now.Rules != was; got != tt.want || got && seen[now.Rules] {
			t.Errorf("%s: rules %q after %q", tt.name, now.Rules, was)
		}
		seen[now.Rules] = true
	}
}

// TestCreatedMeanwhile: of two calls that create the same, the later one hears
// that it exists, though what the earlier one has made breaks rules for it, too.
func TestCreatedMeanwhile(t *testing.T) {
	r := open(t, newStore(t))
	store := withStore(t, r)
	folder := func(s *Store) error {
		*s = NewStore(File)
		s.Root = "/same"
		return nil
	}
	_, err := r.CreateStore(t.Context(), "same", func(s *Store) error {
		if _, err := r.CreateStore(t.Context(), "same", folder); err != nil {
			t.Errorf("the first store: %v", err)
		}
		return folder(s)
	})
	if !errors.Is(err, ErrExists) {
		t.Errorf("the second store: %v, want ErrExists", err)
	}
	images := func(r *Repository) error {
		r.Type, r.Format, r.Store, r.Listen = Hosted, "docker", store, "5000"
		return nil
	}
	_, err = r.CreateRepository(t.Context(), "same", func(repo *Repository) error {
		if _, err := r.CreateRepository(t.Context(), "same", images); err != nil {
			t.Errorf("the first repository: %v", err)
		}
		return images(repo)
	})
	if !errors.Is(err, ErrExists) {
		t.Errorf("the second repository: %v, want ErrExists", err)
	}
}

func TestConcurrentUpdatesAllCount(t *testing.T) {
	s := newStore(t)
	a, b := open(t, s), open(t, s)
	store := withStore(t, a)
	create(t, a, "mine", hosted(store))
	load(t, b)
	var all sync.WaitGroup
	for i := range 12 {
		r := []*Registry{a, b}[i%2]
		all.Go(func() {
			_, err := r.UpdateRepository(t.Context(), "mine", func(r *Repository) error {
				n := int64(1)
				if r.QuotaBytes != nil {
					n += *r.QuotaBytes
				}
				r.QuotaBytes = &n
				return nil
			})
			if err != nil {
				t.Errorf("UpdateRepository: %v", err)
			}
		})
	}
	all.Wait()
	load(t, a)
	if repo, _ := a.Repository(t.Context(), "mine"); repo.QuotaBytes == nil || *repo.QuotaBytes != 12 {
		t.Errorf("quota = %v, want 12", repo.QuotaBytes)
	}
}

func TestUnknownFieldsAreKept(t *testing.T) {
	s := newStore(t)
	r := open(t, s)
	store := withStore(t, r)
	made := create(t, r, "mine", hosted(store))
	key := kv.Config(kindRepository, made.ID)
	item, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[int]any
	if err := cbor.Unmarshal(item.Value, &fields); err != nil {
		t.Fatal(err)
	}
	fields[999] = "from the future"
	old := item.Version
	if item.Value, err = cbor.Marshal(fields); err != nil {
		t.Fatal(err)
	}
	item.Version = kv.NewVersion()
	if err := s.PutIf(t.Context(), item, old); err != nil {
		t.Fatal(err)
	}
	if _, err := r.UpdateRepository(t.Context(), "mine", func(r *Repository) error { r.HistoryDays = ptr(int64(1)); return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := r.RenameRepository(t.Context(), "mine", "yours"); err != nil {
		t.Fatal(err)
	}
	if item, err = s.Get(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	fields = nil
	if err := cbor.Unmarshal(item.Value, &fields); err != nil || fields[999] != "from the future" {
		t.Errorf("fields = %v, %v", fields, err)
	}
}

func TestNotifier(t *testing.T) {
	r := open(t, newStore(t))
	store := withStore(t, r)
	calls := 0
	boom := errors.New("boom")
	var result error
	var ended context.Context
	r.SetNotifier(func(ctx context.Context) error {
		calls++
		ended = ctx
		if ctx.Err() != nil {
			t.Error("told with a context that has ended")
		}
		return errors.Join(result, r.Load(ctx))
	})
	ctx, cancel := context.WithCancel(t.Context())
	steps := []func() error{
		func() error { _, err := r.CreateRepository(ctx, "a", hosted(store)); return err },
		func() error {
			_, err := r.UpdateRepository(ctx, "a", func(*Repository) error { return nil })
			return err
		},
		func() error { _, err := r.RenameRepository(ctx, "a", "b"); return err },
		func() error { _, err := r.DeleteRepository(ctx, "b"); return err },
		func() error { _, err := r.CreateStore(ctx, "s", fileStore("x")); return err },
		func() error { _, err := r.UpdateStore(ctx, "s", func(*Store) error { return nil }); return err },
		func() error { return r.DeleteStore(ctx, "s", nil) },
		func() error { _, err := r.UpdateSettings(ctx, func(*Settings) error { return nil }); return err },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			t.Errorf("step %d: %v", i, err)
		}
		if calls != i+1 {
			t.Fatalf("step %d: told %d times", i, calls)
		}
	}
	if ended.Err() == nil {
		t.Error("the context of a call outlives it")
	}
	result = boom
	repo, err := r.CreateRepository(ctx, "c", hosted(store))
	if !errors.Is(err, boom) || repo == nil || repo.Name != "c" {
		t.Errorf("CreateRepository = %v, %v, want the repository and the notifier's error", repo, err)
	}
	// The caller goes away when the repository is written: it is told all the same.
	result = nil
	calls = 0
	if _, err := r.CreateRepository(ctx, "d", func(d *Repository) error { return hosted(store)(d) }); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := r.changed(ctx); err != nil || calls != 2 {
		t.Errorf("changed = %v after %d calls", err, calls)
	}
}

func TestResolve(t *testing.T) {
	s := newStore(t)
	a, b := open(t, s), open(t, s)
	store := withStore(t, a)
	x, y := create(t, a, "x", hosted(store)), create(t, a, "y", hosted(store))
	ids, err := b.MemberIDs(t.Context(), "members", []string{"y", "x"})
	if err != nil || !slices.Equal(ids, []string{y.ID, x.ID}) {
		t.Errorf("MemberIDs = %v, %v", ids, err)
	}
	_, err = b.MemberIDs(t.Context(), "members", []string{"y", "z"})
	wantField(t, err, "members", false)
	_, err = b.MemberIDs(t.Context(), "members", make([]string, maxMembers+1))
	wantField(t, err, "members", false)
	if names := a.MemberNames([]string{y.ID, "gone", x.ID}); !slices.Equal(names, []string{"y", "x"}) {
		t.Errorf("MemberNames = %v", names)
	}
	if id, err := b.StoreID(t.Context(), "store", "default"); err != nil || id != store {
		t.Errorf("StoreID = %v, %v", id, err)
	}
	_, err = b.StoreID(t.Context(), "store", "none")
	wantField(t, err, "store", false)
	if name := a.StoreName("gone"); name != "" {
		t.Errorf("StoreName = %q", name)
	}
}

func TestSettings(t *testing.T) {
	s := newStore(t)
	r := open(t, s)
	if got := r.Settings(); got.MaxArtifactBytes != 34359738368 || !got.AccessLog || got.GCInterval != 86400 {
		t.Errorf("defaults = %+v", got)
	}
	set, err := r.UpdateSettings(t.Context(), func(s *Settings) error {
		*s = DefaultSettings()
		s.AccessLog, s.GCMinInterval, s.GCInterval = false, 0, 0
		s.CORS = ptr(DefaultCORS())
		return nil
	})
	if err != nil || set.AccessLog {
		t.Fatalf("UpdateSettings = %+v, %v", set, err)
	}
	other := open(t, s)
	if got := other.Settings(); got.AccessLog || got.GCInterval != 0 || got.JWTExpiry != 86400 || got.CORS.MaxAge != 3600 {
		t.Errorf("settings = %+v", got)
	}
	_, err = r.UpdateSettings(t.Context(), func(s *Settings) error { s.JWTExpiry = 1; return nil })
	wantField(t, err, "jwt_expiry_secs", false)

	store := withStore(t, r)
	docker := create(t, r, "images", func(d *Repository) error {
		d.Type, d.Format, d.Store = Hosted, "docker", store
		return nil
	})
	if _, err := r.UpdateSettings(t.Context(), func(s *Settings) error { s.DefaultDockerRepo = docker.ID; return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := r.DeleteRepository(t.Context(), "images"); err != nil {
		t.Fatal(err)
	}
	if got := r.Settings().DefaultDockerRepo; got != "" {
		t.Errorf("the default is a deleted repository: %q", got)
	}
}

func TestLoadFailureKeepsWhatIs(t *testing.T) {
	broken := false
	s := newStore(t, func(o *mem.Options) {
		o.Before = func(op mem.Op) error {
			if broken && op.Method == "Query" {
				return kv.ErrThrottled
			}
			return nil
		}
	})
	r := open(t, s)
	create(t, r, "mine", hosted(withStore(t, r)))
	broken = true
	if err := r.Load(t.Context()); !errors.Is(err, kv.ErrThrottled) {
		t.Errorf("Load = %v", err)
	}
	if _, err := r.Repository(t.Context(), "mine"); err != nil {
		t.Errorf("Repository = %v after a load that failed", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.loading <- struct{}{} // somebody else's load hangs
	if err := r.Load(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Load = %v", err)
	}
}
