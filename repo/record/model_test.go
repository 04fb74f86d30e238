package record_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"granary/formats"
	"granary/kv"
	"granary/kv/mem"
	"granary/repo/record"
)

// model is what records and their pasts should be.
type model map[[2]string][]state

func (m model) now(at [2]string) string {
	if p := m[at]; len(p) > 0 {
		return p[len(p)-1].content
	}
	return ""
}

// Random operations give what a map gives, and history what it was at any time.
func TestModel(t *testing.T) {
	stores := map[string]func(*rapid.T) kv.Store{
		"mem":   func(*rapid.T) kv.Store { return newMem(t, mem.Options{}) },
		"chaos": func(rt *rapid.T) kv.Store { return unreliable(t, rapid.Uint64().Draw(rt, "seed")) },
	}
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				store, c, m := open(rt), newClock(), model{}
				nodes := []*record.Store{newStore(t, store, c, "n1"), newStore(t, store, c, "n2")}
				scopes, names := []string{"", "a", "a/b"}, []string{"f", "g", "x/y", ":tag"}
				for i := range rapid.IntRange(1, 30).Draw(rt, "operations") {
					s := rapid.SampledFrom(nodes).Draw(rt, "node")
					at := [2]string{rapid.SampledFrom(scopes).Draw(rt, "scope"), rapid.SampledFrom(names).Draw(rt, "name")}
					c.ns.Add(rapid.Int64Range(-2, 5).Draw(rt, "ns"))
					if rapid.IntRange(0, 3).Draw(rt, "kind") > 0 {
						content := fmt.Sprint("content ", i)
						out, err := s.Put(t.Context(), space, at[0], at[1], file(content), nil)
						if err != nil {
							rt.Fatal(err)
						}
						m[at] = append(m[at], state{out.Record.Since, false, content})
						continue
					}
					_, err := s.Delete(t.Context(), space, at[0], at[1], nil)
					if was := m.now(at); (was == "") != errors.Is(err, formats.ErrNotFound) || was != "" && err != nil {
						rt.Fatalf("Delete of %q = %v", was, err)
					} else if was != "" {
						m[at] = append(m[at], state{0, true, ""})
					}
				}
				checkModel(t, rt, store, nodes[0], m)
			})
		})
	}
}

func checkModel(t *testing.T, rt *rapid.T, store kv.Store, s *record.Store, m model) {
	for at, want := range m {
		if got := get(t, s, at[0], at[1], record.Latest); got != m.now(at) {
			rt.Errorf("%q is %q, want %q", at, got, m.now(at))
		}
		got := past(t.Context(), t, store, at[0], at[1])
		if len(got) != len(want) {
			rt.Fatalf("%q was %v, want %v", at, got, want)
		}
		for i, st := range got {
			if !st.deleted && st != want[i] || st.deleted != want[i].deleted || i > 0 && st.since <= got[i-1].since {
				rt.Errorf("%q was %v, want %v", at, got, want)
			}
		}
	}
	var scopes []string
	for at := range m {
		scopes = append(scopes, at[0])
	}
	slices.Sort(scopes)
	for _, scope := range slices.Compact(scopes) {
		checkScope(t, rt, s, m, scope)
	}
}

// checkScope compares what a scan of a scope yields.
func checkScope(t *testing.T, rt *rapid.T, s *record.Store, m model, scope string) {
	last := ""
	n := 0
	for r, err := range s.Scope(t.Context(), space, scope, record.Consistent) {
		if err != nil {
			rt.Fatal(err)
		}
		if r.Scope != scope || r.Name <= last || string(r.Record.Inline) != m.now([2]string{scope, r.Name}) {
			rt.Errorf("Scope(%q) yields %q %q with %q after %q", scope, r.Scope, r.Name, r.Record.Inline, last)
		}
		last = r.Name
		n++
	}
	want := 0
	for at := range m {
		if at[0] == scope && m.now(at) != "" {
			want++
		}
	}
	if n != want {
		rt.Errorf("Scope(%q) yields %d records, want %d", scope, n, want)
	}
}

// Writers of one record on two nodes, on a store that loses answers: every
// write that was acknowledged was the state exactly once, and time only grows.
func TestConcurrentWriters(t *testing.T) {
	const writers, writes = 6, 25
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			store, c := unreliable(t, seed), newClock()
			nodes := []*record.Store{
				record.New(record.Config{KV: store, Now: c.running}),
				record.New(record.Config{KV: store, Now: c.running}),
			}
			var mu sync.Mutex
			acknowledged := map[string]bool{}
			deletes := 0
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					random := rand.New(rand.NewPCG(seed, uint64(w)))
					for i := range writes {
						s, content := nodes[w%2], fmt.Sprint(w, " ", i)
						del := random.IntN(4) == 0
						var err error
						if del {
							_, err = s.Delete(t.Context(), space, "a", "f", nil)
						} else {
							_, err = s.Put(t.Context(), space, "a", "f", file(content), nil)
						}
						mu.Lock()
						switch {
						case errors.Is(err, formats.ErrNotFound):
						case err != nil:
							t.Error(err)
						case del:
							deletes++
						default:
							acknowledged[content] = true
						}
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			met, tombstones := map[string]int{}, 0
			last := int64(0)
			for _, st := range past(context.Background(), t, store, "a", "f") {
				if st.since <= last {
					t.Errorf("since %d after %d", st.since, last)
				}
				last = st.since
				if st.deleted {
					tombstones++
				} else {
					met[st.content]++
				}
			}
			for content := range acknowledged {
				if met[content] != 1 {
					t.Errorf("%q was the state %d times", content, met[content])
				}
			}
			if len(met) != len(acknowledged) || tombstones != deletes {
				t.Errorf("%d states and %d tombstones, want %d and %d", len(met), tombstones, len(acknowledged), deletes)
			}
		})
	}
}
