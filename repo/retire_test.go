package repo_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"granary/digest"
	"granary/formats"
	"granary/formats/all"
	"granary/kv"
	"granary/kv/mem"
	"granary/repo/config"
	"granary/repo/record"
	"granary/repo/repotest"
)

// turns is a store that lets actors make one call at a time, when it is their
// turn. Calls of nobody go through at once.
type turns struct {
	kv.Store
	calls chan *actor
}

// actor is one request. It waits in each of its calls to the store.
type actor struct {
	name         string
	tag          int       // that it pushes; -1: it removes the manifest
	next         chan bool // false: its node has died
	dead         bool
	done         bool
	began, ended int // after how many calls of all
	err          error
}

type actorKey struct{}

// wait lets the markers of directories through: they are written several at once.
func (s *turns) wait(ctx context.Context, sort string) error {
	a, ok := ctx.Value(actorKey{}).(*actor)
	if !ok || strings.Contains(sort, "//\x01") {
		return nil
	}
	if a.dead {
		return repotest.ErrDied
	}
	s.calls <- a
	if !<-a.next {
		a.dead = true
		return repotest.ErrDied
	}
	return nil
}

func (s *turns) Get(ctx context.Context, key kv.Key, opts ...kv.ReadOption) (kv.Item, error) {
	if err := s.wait(ctx, key.Sort); err != nil {
		return kv.Item{}, err
	}
	return s.Store.Get(ctx, key, opts...)
}

func (s *turns) PutIf(ctx context.Context, item kv.Item, old kv.Version) error {
	if err := s.wait(ctx, item.Key.Sort); err != nil {
		return err
	}
	return s.Store.PutIf(ctx, item, old)
}

func (s *turns) Query(ctx context.Context, partition, from, to string, opts ...kv.ReadOption) iter.Seq2[kv.Item, error] {
	return func(yield func(kv.Item, error) bool) {
		if err := s.wait(ctx, from); err != nil {
			yield(kv.Item{}, err)
			return
		}
		s.Store.Query(ctx, partition, from, to, opts...)(yield)
	}
}

// race is requests on one manifest, made step by step.
type race struct {
	t      *testing.T
	store  *turns
	nodes  []*repotest.Rig
	actors []*actor
	image  string
	body   string
	digest string
	space  kv.Space
	calls  int
}

// newNodes returns two nodes on one store.
func newNodes(t *testing.T) (*turns, []*repotest.Rig, kv.Space) {
	store := &turns{Store: mem.New(mem.Options{Misuse: func(err error) { t.Error(err) }}), calls: make(chan *actor)}
	a := repotest.New(t, repotest.Options{KV: store, Formats: all.Formats})
	c := a.Create("r", config.Hosted, "docker", nil)
	b := repotest.New(t, repotest.Options{KV: store, Blobs: a.Blobs, Formats: all.Formats})
	return store, []*repotest.Rig{a, b}, kv.Space{Repo: c.ID, Shards: c.Shards}
}

const subject = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func newRace(t *testing.T, store *turns, nodes []*repotest.Rig, space kv.Space, image string) *race {
	r := &race{t: t, store: store, nodes: nodes, space: space, image: image}
	r.body = fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],
"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":2},"annotations":{"of":%q}}`, subject, image)
	h := digest.NewHasher()
	h.Write([]byte(r.body)) //nolint:errcheck // never fails
	r.digest = fmt.Sprintf("sha256:%x", h.Sums().SHA256)
	return r
}

func (r *race) path(reference string) string { return "v2/" + r.image + "/manifests/" + reference }

func (r *race) push(ctx context.Context, node, tag int) error {
	_, _, err := r.nodes[node].Send(ctx, "r", "PUT", r.path(tagNames[tag]), []byte(r.body), "Content-Type", "application/vnd.oci.image.index.v1+json")
	return err
}

func (r *race) remove(ctx context.Context, node int) error {
	_, _, err := r.nodes[node].Send(ctx, "r", "DELETE", r.path(r.digest), nil)
	return err
}

// start begins a push, or a removal if tag is -1. It waits before its first call.
func (r *race) start(node, tag int) *actor {
	a := &actor{name: fmt.Sprint("push ", tag), tag: tag, next: make(chan bool), began: -1}
	r.actors = append(r.actors, a)
	go func() {
		ctx := context.WithValue(r.t.Context(), actorKey{}, a)
		if tag < 0 {
			a.name, a.err = "removal", r.remove(ctx, node)
		} else {
			a.err = r.push(ctx, node, tag)
		}
		a.done = true
		r.store.calls <- a
	}()
	<-r.store.calls
	return a
}

// run lets an actor make up to n calls; false if it has ended.
func (r *race) run(a *actor, n int) bool {
	for range n {
		if a.done {
			return false
		}
		r.step(a, true)
	}
	return !a.done
}

// step lets an actor make a call, or hear that its node has died.
func (r *race) step(a *actor, alive bool) {
	r.calls++
	if a.began < 0 {
		a.began = r.calls
	}
	a.next <- alive
	<-r.store.calls
	a.ended = r.calls
	if !a.done {
		a.ended = math.MaxInt
	}
}

// finish lets all end.
func (r *race) finish() {
	for _, a := range r.actors {
		if r.run(a, 1000) {
			r.t.Fatalf("%s: %s does not end", r.image, a.name)
		}
	}
}

// found is what is there: whether a manifest, and which tags.
type found struct {
	manifest bool
	tags     [2]bool
}

var tagNames = [2]string{"one", "two"}

// look reads what is there in the end, which must be whole.
func (r *race) look(order string) found {
	r.t.Helper()
	rec := func(scope, name string) bool {
		_, _, err := r.nodes[0].Records.Get(r.t.Context(), r.space, scope, name, record.Latest)
		if err != nil && !errors.Is(err, formats.ErrNotFound) {
			r.t.Error(err)
		}
		return err == nil
	}
	f := found{manifest: rec(r.image+"/manifests", r.digest)}
	died := slices.ContainsFunc(r.actors, func(a *actor) bool { return a.dead }) // on its way
	if listed := rec(r.image+"/referrers/"+subject, ":"+r.digest); listed && !f.manifest || !listed && f.manifest && !died {
		r.t.Errorf("%s: the manifest is there: %v, it is among the referrers: %v", order, f.manifest, listed)
	}
	for i, tag := range tagNames {
		if f.tags[i] = rec(r.image+"/tags", tag); f.tags[i] && !f.manifest {
			r.t.Errorf("%s: tag %s is there and its manifest is not", order, tag)
		}
	}
	return f
}

// explained tells whether the requests, one after the other in some order in
// which none comes before one that had ended when it began, lead to what is there.
func explained(now, end found, left []*actor) bool {
	if len(left) == 0 {
		return now == end
	}
	for i, a := range left {
		if slices.ContainsFunc(left, func(b *actor) bool { return b.ended < a.began }) {
			continue
		}
		rest := slices.Delete(slices.Clone(left), i, i+1)
		if slices.ContainsFunc(a.outcomes(now), func(next found) bool { return explained(next, end, rest) }) {
			return true
		}
	}
	return false
}

// outcomes are what a request may have made of what was there.
func (a *actor) outcomes(now found) []found {
	switch {
	case a.tag >= 0:
		now.manifest, now.tags[a.tag] = true, true
		return []found{now}
	case a.dead: // it may have got anywhere
		out := []found{now, {}}
		for n := range 4 {
			less := now
			less.tags[0], less.tags[1] = less.tags[0] && n&1 == 0, less.tags[1] && n&2 == 0
			out = append(out, less)
		}
		return out
	case a.err != nil && now.manifest:
		return nil // it was not found
	}
	return []found{{}}
}

// A push of a new tag, or of one that is there, and a removal of its manifest on
// another node are stopped between any two of their calls to the store for the
// other to go on, and for the first to go on before it.
func TestPushDuringRemoval(t *testing.T) {
	store, nodes, space := newNodes(t)
	image := 0
	for tag := range tagNames {
		for _, first := range []string{"push", "removal"} {
			for i, iMore := 0, true; iMore; i++ {
				for j, jMore := 1, true; jMore; j++ {
					for _, k := range []int{1, 2, 3, 5, 1000} {
						image++
						r := newRace(t, store, nodes, space, fmt.Sprint("image", image))
						if err := r.push(t.Context(), 0, 0); err != nil {
							t.Fatal(err)
						}
						push, removal := r.start(0, tag), r.start(1, -1)
						a, b := push, removal
						if first == "removal" {
							a, b = b, a
						}
						iMore = r.run(a, i)
						jMore = r.run(b, j)
						r.run(a, k)
						r.run(b, 1000)
						r.finish()
						if push.err != nil || removal.err != nil {
							t.Errorf("push of %s: %v, removal: %v", tagNames[tag], push.err, removal.err)
						}
						order := fmt.Sprintf("push of %s, %s first, %d, %d, %d calls", tagNames[tag], first, i, j, k)
						if f := r.look(order); !explained(found{true, [2]bool{true, false}}, f, r.actors) {
							t.Errorf("%s: there is %+v", order, f)
						}
					}
				}
			}
		}
	}
	t.Log(image, "orders")
}

// Pushes and removals on two nodes in random orders; removals may die on the
// way.
func TestPushesDuringRemovals(t *testing.T) {
	store, nodes, space := newNodes(t)
	rnd := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // orders
	for n := range 1000 {
		r := newRace(t, store, nodes, space, fmt.Sprint("image", n))
		var before found
		if n%2 == 0 {
			if err := r.push(t.Context(), 0, 0); err != nil {
				t.Fatal(err)
			}
			before = found{true, [2]bool{true, false}}
		}
		for i := range tagNames {
			r.start(i, i)
			r.start(1-i, -1)
		}
		order := ""
		for range 60 {
			a := r.actors[rnd.IntN(len(r.actors))]
			steps := 1 + rnd.IntN(4)
			order += fmt.Sprintf(" %s %d", a.name, steps)
			if r.run(a, steps) && a.tag < 0 && rnd.IntN(20) == 0 {
				order += " dies"
				r.step(a, false)
			}
		}
		r.finish()
		for _, a := range r.actors {
			if a.err != nil && !a.dead && !(a.tag < 0 && errors.Is(a.err, formats.ErrNotFound)) {
				t.Errorf("%s: %v", a.name, a.err)
			}
		}
		if f := r.look(order); !explained(before, f, r.actors) {
			t.Errorf("order%s: there is %+v", order, f)
		}
	}
}

// A tag that came after a bulk removal was asked for keeps its manifest.
func TestRemovalOfWhatIsPointedAtSince(t *testing.T) {
	_, nodes, space := newNodes(t)
	r := newRace(t, nil, nodes, space, "image")
	a := nodes[0]
	push := func(tag int) {
		if err := r.push(t.Context(), 0, tag); err != nil {
			t.Fatal(err)
		}
	}
	push(0)
	rec, _, err := a.Records.Get(t.Context(), space, "image/manifests", r.digest, record.Latest)
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.Registry.Repository(t.Context(), "r")
	if err != nil {
		t.Fatal(err)
	}
	before := a.Clock.Now()
	a.Clock.Advance(time.Minute)
	push(1)
	remove := func(before time.Time) bool {
		ok, err := a.RemoveRecord(t.Context(), c, record.Named{Scope: "image/manifests", Name: r.digest, Record: rec}, before)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if remove(before) {
		t.Error("a manifest was removed although a tag was pushed since")
	}
	if got, want := r.look("after it"), (found{true, [2]bool{false, true}}); got != want {
		t.Errorf("there is %+v, want %+v", got, want)
	}
	if rec, _, err = a.Records.Get(t.Context(), space, "image/manifests", r.digest, record.Latest); err != nil {
		t.Fatal(err)
	}
	if !remove(a.Clock.Now()) {
		t.Error("nothing was removed")
	}
	if got := r.look("in the end"); got != (found{}) {
		t.Errorf("there is %+v, want nothing", got)
	}
}
