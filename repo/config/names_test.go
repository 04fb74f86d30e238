package config

import (
	"context"
	"errors"
	"testing"
	"time"

	"granary/kv"
	"granary/kv/mem"
)

// orphan leaves a claim as a process does that dies right after it.
func orphan(t *testing.T, r *Registry, name string) {
	t.Helper()
	if _, err := r.claimName(t.Context(), name, "01j0000000000000000000dead", found{}); err != nil {
		t.Fatal(err)
	}
}

func TestClaimThatNobodyConfirms(t *testing.T) {
	s, clock := newStore(t), &later{}
	r := open(t, s, func(o *Options) { o.Now = clock.now })
	store := withStore(t, r)
	orphan(t, r, "mine")
	if _, err := r.Repository(t.Context(), "mine"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Repository = %v, want ErrNotFound", err)
	}
	refused := func(r *Registry) {
		t.Helper()
		if _, err := r.CreateRepository(t.Context(), "mine", hosted(store)); !errors.Is(err, ErrExists) {
			t.Errorf("CreateRepository = %v, want ErrExists", err)
		}
	}
	refused(r)
	clock.by += ClaimGrace - time.Second
	load(t, r) // which must not forget since when
	refused(r)
	clock.by += 2 * time.Second
	refused(open(t, s, func(o *Options) { o.Now = clock.now })) // knows of no minute
	create(t, r, "mine", hosted(store))
}

func TestClaimFromAnEarlierLife(t *testing.T) {
	s := newStore(t)
	first := open(t, s)
	store := withStore(t, first)
	orphan(t, first, "mine")
	r := open(t, s, func(o *Options) { o.Embedded = true })
	create(t, r, "mine", hosted(store))
	// Only what is found at the start is left over.
	orphan(t, first, "yours")
	load(t, r)
	if _, err := r.CreateRepository(t.Context(), "yours", hosted(store)); !errors.Is(err, ErrExists) {
		t.Errorf("CreateRepository = %v, want ErrExists", err)
	}
}

// once runs f before the first write to a kind of document.
func once(kind string, f func()) func(*mem.Options) {
	done := false
	return func(o *mem.Options) {
		o.Before = func(op mem.Op) error {
			if !done && op.Method == "PutIf" && op.Key.Partition == kv.ConfigPartition(kind) {
				done = true
				f()
			}
			return nil
		}
	}
}

// A creator that is paused between claim and repository for more than a minute
// loses the name, and leaves nothing.
func TestCreatorThatIsTooLate(t *testing.T) {
	clock := &later{}
	var b *Registry
	var store string
	var winner *Repository
	s := newStore(t, once(kindRepository, func() {
		load(t, b)
		clock.by += ClaimGrace
		winner = create(t, b, "mine", hosted(store))
	}))
	a := open(t, s, func(o *Options) { o.Now = clock.now })
	b = open(t, s, func(o *Options) { o.Now = clock.now })
	store = withStore(t, a)
	if _, err := a.CreateRepository(t.Context(), "mine", hosted(store)); !errors.Is(err, ErrExists) {
		t.Errorf("CreateRepository = %v, want ErrExists", err)
	}
	load(t, a)
	if repo, err := a.Repository(t.Context(), "mine"); err != nil || repo.ID != winner.ID {
		t.Errorf("Repository = %+v, %v, want the winner's", repo, err)
	}
	if n := len(a.current.Load().documents); n != 1 {
		t.Errorf("%d documents are stored, want 1", n)
	}
}

func TestRename(t *testing.T) {
	s := newStore(t)
	a, b := open(t, s), open(t, s)
	shared(a, b)
	store := withStore(t, a)
	h := create(t, a, "h", hosted(store))
	other := create(t, a, "other", hosted(store))
	g := create(t, a, "g", group(store, h.ID))
	now, err := b.RenameRepository(t.Context(), "h", "renamed")
	if err != nil || now.ID != h.ID || now.Name != "renamed" {
		t.Fatalf("RenameRepository = %+v, %v", now, err)
	}
	for _, r := range []*Registry{a, b, open(t, s)} {
		if _, err := r.Repository(t.Context(), "h"); !errors.Is(err, ErrNotFound) {
			t.Errorf("the old name: %v", err)
		}
		if repo, err := r.Repository(t.Context(), "renamed"); err != nil || repo.ID != h.ID {
			t.Errorf("the new name: %+v, %v", repo, err)
		}
		if repo, _ := r.RepositoryByID(g.ID); len(repo.Members) != 1 || repo.Members[0] != h.ID {
			t.Errorf("members of its group: %v", repo.Members)
		}
	}
	if again := create(t, a, "h", hosted(store)); again.ID == h.ID {
		t.Error("the new repository of the old name has the old id")
	}
	_, err = a.RenameRepository(t.Context(), "renamed", "other")
	if !errors.Is(err, ErrExists) {
		t.Errorf("rename to a taken name = %v, want ErrExists", err)
	}
	if repo, _ := a.Repository(t.Context(), "other"); repo.ID != other.ID {
		t.Error("a rename has taken a name from its repository")
	}
	_, err = a.RenameRepository(t.Context(), "none", "new")
	if !errors.Is(err, ErrNotFound) {
		t.Errorf("rename of nothing = %v", err)
	}
	_, err = a.RenameRepository(t.Context(), "other", "other")
	wantField(t, err, "new_name", false)
	_, err = a.RenameRepository(t.Context(), "other", "api")
	wantField(t, err, "new_name", false)
	if _, err := a.Repository(t.Context(), "new"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a failed rename left a name: %v", err)
	}
}

// afterWrite runs f once after a write to a kind of document that armed waits
// for; the write's reply is lost.
func afterWrite(kind string, armed *bool, f func()) func(*mem.Options) {
	return func(o *mem.Options) {
		o.After = func(op mem.Op) error {
			if !*armed || op.Method != "PutIf" || op.Key.Partition != kv.ConfigPartition(kind) {
				return nil
			}
			*armed = false
			f()
			return kv.ErrUnknown
		}
	}
}

// The reply to the write of a repository is lost, and others change it before
// the write is sent again: its conflict is no failure.
func TestChangedBeforeTheReply(t *testing.T) {
	armed := false
	var b *Registry
	name := "mine"
	s := newStore(t, afterWrite(kindRepository, &armed, func() {
		if _, err := b.UpdateRepository(t.Context(), name, func(r *Repository) error { r.HistoryDays = ptr(int64(3)); return nil }); err != nil {
			t.Error(err)
		}
	}))
	a := open(t, s)
	b = open(t, s)
	store := withStore(t, a)
	load(t, b)
	armed = true
	made := create(t, a, "mine", hosted(store))
	if made.HistoryDays == nil || *made.HistoryDays != 3 {
		t.Errorf("made %+v", made)
	}
	armed, name = true, "yours"
	now, err := a.RenameRepository(t.Context(), "mine", "yours")
	if err != nil || now.Name != "yours" {
		t.Errorf("RenameRepository = %+v, %v", now, err)
	}
	if armed {
		t.Error("the fault did not happen")
	}
	for name, want := range map[string]error{"mine": ErrNotFound, "yours": nil} {
		if _, err := open(t, s).Repository(t.Context(), name); !errors.Is(err, want) {
			t.Errorf("Repository(%s) = %v, want %v", name, err, want)
		}
	}
}

// It is not known whether a rename happened: the name that it may have needs
// to stay.
func TestRenameOfUnknownOutcome(t *testing.T) {
	armed := false
	ctx, cancel := context.WithCancel(t.Context())
	s := newStore(t, afterWrite(kindRepository, &armed, cancel))
	r := open(t, s)
	made := create(t, r, "old", hosted(withStore(t, r)))
	armed = true
	if _, err := r.RenameRepository(ctx, "old", "new"); !errors.Is(err, kv.ErrUnknown) {
		t.Errorf("RenameRepository = %v, want ErrUnknown", err)
	}
	load(t, r)
	if repo, err := r.Repository(t.Context(), "new"); err != nil || repo.ID != made.ID {
		t.Errorf("Repository = %v, %v", repo, err)
	}
}

// A load that reads repositories and names while one is renamed knows it all
// the same.
func TestRenameDuringALoad(t *testing.T) {
	for _, kind := range []string{kindRepository, kindName, kindDead} {
		armed := false
		var b *Registry
		s := newStore(t, func(o *mem.Options) {
			o.Before = func(op mem.Op) error {
				if armed && op.Method == "Query" && op.Key.Partition == kv.ConfigPartition(kind) {
					armed = false
					if _, err := b.RenameRepository(t.Context(), "old", "new"); err != nil {
						t.Error(err)
					}
				}
				return nil
			}
		})
		a := open(t, s)
		b = open(t, s)
		made := create(t, a, "old", hosted(withStore(t, a)))
		load(t, b)
		armed = true
		load(t, a)
		all := a.Repositories()
		if len(all) != 1 || all[0].ID != made.ID {
			t.Errorf("before %s: repositories = %v", kind, all)
		}
		if _, ok := a.RepositoryByID(made.ID); !ok {
			t.Errorf("before %s: not known by its id", kind)
		}
	}
}

// A rename that dies at any write leaves the repository under one of the two
// names, and the other free, at the latest a minute later.
func TestRenameThatDies(t *testing.T) {
	for dies := range 4 {
		clock := &later{}
		writes, armed := 0, false
		ctx, cancel := context.WithCancel(t.Context())
		s := newStore(t, func(o *mem.Options) {
			o.Before = func(op mem.Op) error {
				if armed && op.Write() {
					if writes++; writes > dies {
						cancel()
						return errors.New("dead")
					}
				}
				return nil
			}
		})
		r := open(t, s, func(o *Options) { o.Now = clock.now })
		store := withStore(t, r)
		h := create(t, r, "old", hosted(store))
		armed = true
		_, err := r.RenameRepository(ctx, "old", "new")
		armed = false
		if (err == nil) != (dies >= 2) { // the third write frees the old name: its loss is no failure
			t.Errorf("dies at write %d: %v", dies, err)
		}
		next := open(t, s, func(o *Options) { o.Now = clock.now })
		all := next.Repositories()
		if len(all) != 1 || all[0].ID != h.ID {
			t.Fatalf("dies at write %d: repositories = %v", dies, all)
		}
		name, free := all[0].Name, map[string]string{"old": "new", "new": "old"}[all[0].Name]
		if repo, err := next.Repository(t.Context(), name); err != nil || repo.ID != h.ID {
			t.Errorf("dies at write %d: Repository = %v", dies, err)
		}
		clock.by += ClaimGrace
		create(t, next, free, hosted(store))
	}
}

func TestDelete(t *testing.T) {
	s := newStore(t)
	a, b := open(t, s), open(t, s)
	shared(a, b)
	store := withStore(t, a)
	h, h2 := create(t, a, "h", hosted(store)), create(t, a, "h2", hosted(store))
	g := create(t, a, "g", func(g *Repository) error {
		g.WriteMember = h.ID
		return group(store, h.ID, h2.ID)(g)
	})
	gone, err := b.DeleteRepository(t.Context(), "h")
	if err != nil || gone.ID != h.ID {
		t.Fatalf("DeleteRepository = %+v, %v", gone, err)
	}
	for _, r := range []*Registry{a, b, open(t, s)} {
		if _, err := r.Repository(t.Context(), "h"); !errors.Is(err, ErrNotFound) {
			t.Errorf("Repository = %v, want ErrNotFound", err)
		}
		if repo, _ := r.RepositoryByID(g.ID); len(repo.Members) != 1 || repo.Members[0] != h2.ID || repo.WriteMember != "" {
			t.Errorf("members = %v, write member %q", repo.Members, repo.WriteMember)
		}
	}
	if stored := a.current.Load().documents[g.ID].value; len(stored.Members) != 1 || stored.WriteMember != "" {
		t.Errorf("the stored group still names it: %v", stored.Members)
	}
	if _, err := a.DeleteRepository(t.Context(), "h"); !errors.Is(err, ErrNotFound) {
		t.Errorf("DeleteRepository again = %v, want ErrNotFound", err)
	}
	if again := create(t, b, "h", hosted(store)); again.ID == h.ID {
		t.Error("the new repository has the old one's id, and its records")
	}
	// A group whose members are all gone can be changed, but not made.
	if _, err := a.DeleteRepository(t.Context(), "h2"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.UpdateRepository(t.Context(), "g", func(g *Repository) error { g.HistoryDays = ptr(int64(1)); return nil }); err != nil {
		t.Errorf("UpdateRepository of an emptied group = %v", err)
	}
	if _, err := a.CreateRepository(t.Context(), "g2", group(store)); !errors.Is(err, ErrInvalid) {
		t.Errorf("CreateRepository of an empty group = %v", err)
	}
	var dead []string
	for d, err := range a.DeadRepositories(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		dead = append(dead, d.Repository.Name)
	}
	if len(dead) != 2 {
		t.Errorf("dead repositories: %v", dead)
	}
}

// A deletion that dies at any write after the first has happened.
func TestDeleteThatDies(t *testing.T) {
	for dies := range 4 {
		writes, armed := 0, false
		s := newStore(t, func(o *mem.Options) {
			o.Before = func(op mem.Op) error {
				if armed && op.Write() {
					if writes++; writes > dies {
						return errors.New("dead")
					}
				}
				return nil
			}
		})
		r := open(t, s)
		store := withStore(t, r)
		h, h2 := create(t, r, "h", hosted(store)), create(t, r, "h2", hosted(store))
		g := create(t, r, "g", group(store, h.ID, h2.ID))
		armed = true
		_, err := r.DeleteRepository(t.Context(), "h")
		armed = false
		if (err == nil) != (dies >= 1) {
			t.Errorf("dies at write %d: %v", dies, err)
		}
		next := open(t, s)
		if _, err := next.Repository(t.Context(), "h"); errors.Is(err, ErrNotFound) != (dies >= 1) {
			t.Errorf("dies at write %d: Repository = %v", dies, err)
		}
		if dies == 0 {
			continue
		}
		if repo, _ := next.RepositoryByID(g.ID); len(repo.Members) != 1 {
			t.Errorf("dies at write %d: members = %v", dies, repo.Members)
		}
		if _, ok := next.RepositoryByID(h.ID); ok {
			t.Errorf("dies at write %d: still known by its id", dies)
		}
		if again := create(t, next, "h", hosted(store)); again.ID == h.ID {
			t.Errorf("dies at write %d: the id is used again", dies)
		}
	}
}

// Two changes, each fine by itself, make a cycle: every node cuts it alike.
func TestCycleMadeByARace(t *testing.T) {
	s := newStore(t)
	a, b := open(t, s), open(t, s)
	store := withStore(t, a)
	load(t, b)
	h := create(t, a, "h", hosted(store))
	p, q := create(t, a, "p", group(store, h.ID)), create(t, a, "q", group(store, h.ID))
	// Past validation, as two nodes do in the same instant.
	for _, edge := range [][2]*Repository{{p, q}, {q, p}} {
		_, err := a.swap(t.Context(), edge[0].Name, func(g *Repository) error {
			g.Members = append(g.Members, edge[1].ID)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	load(t, a, b)
	for _, r := range []*Registry{a, b} {
		first, _ := r.RepositoryByID(p.ID)
		second, _ := r.RepositoryByID(q.ID)
		if p.ID > q.ID {
			first, second = second, first
		}
		if len(first.Members) != 2 || len(second.Members) != 1 || second.Members[0] != h.ID {
			t.Errorf("members %v and %v", first.Members, second.Members)
		}
	}
	_, err := a.UpdateRepository(t.Context(), "p", func(g *Repository) error { g.Members = []string{q.ID}; return nil })
	if p.ID > q.ID {
		wantField(t, err, "members", false)
	}
}
