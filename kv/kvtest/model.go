package kvtest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"granary/kv"

	"pgregory.net/rapid"
)

// model is what a store should hold: one partition of conditional items.
type model struct {
	*env
	items map[string]kv.Item
	known []kv.Version // stamps to try, whether current or long gone
}

// testModel does the same random operations to the store and to a map.
func testModel(t *testing.T, e *env) {
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		m := &model{
			env:   &env{suite: e.suite, store: e.store, name: fmt.Sprint(e.name, "-", run)},
			items: map[string]kv.Item{},
			known: []kv.Version{"", kv.NewVersion()},
		}
		for range rapid.IntRange(1, e.steps).Draw(rt, "steps") {
			m.step(rt)
		}
	})
}

func (m *model) step(t *rapid.T) {
	sort := rapid.SampledFrom([]string{"a", "a/", "a//b", "ab", "b", "\U0010ffff"}).Draw(t, "sort")
	switch rapid.IntRange(0, 4).Draw(t, "operation") {
	case 0:
		m.put(t, sort, m.old(t, sort))
	case 1:
		m.put(t, sort, rapid.SampledFrom(m.known).Draw(t, "old"))
	case 2:
		m.delete(t, sort, m.old(t, sort))
	case 3:
		if i, ok := m.items[sort]; ok {
			m.wants(t, i)
		} else {
			m.wantsNone(t, m.key(sort))
		}
	case 4:
		m.list(t)
	}
}

// old draws a version, mostly the right one.
func (m *model) old(t *rapid.T, sort string) kv.Version {
	if rapid.IntRange(0, 3).Draw(t, "wrong") == 0 {
		return rapid.SampledFrom(m.known).Draw(t, "old")
	}
	return m.items[sort].Version
}

func (m *model) put(t *rapid.T, sort string, old kv.Version) {
	size := rapid.SampledFrom([]int{0, 1, 100, 5000}).Draw(t, "size")
	i := item(m.key(sort), strings.Repeat("m", size))
	m.known = append(m.known, i.Version)
	current, exists := m.items[sort]
	err := m.store.PutIf(t.Context(), i, old)
	if current.Version != old {
		m.wantsConflict(t, err, i.Key, found(current, exists))
		return
	}
	if err != nil {
		t.Fatalf("PutIf(%q over %q): %v", i.Key, old, err)
	}
	m.items[sort] = i
}

func (m *model) delete(t *rapid.T, sort string, old kv.Version) {
	current, exists := m.items[sort]
	err := m.store.DeleteIf(t.Context(), m.key(sort), old)
	switch {
	case old == "":
		if !errors.Is(err, kv.ErrInvalid) {
			t.Fatalf("DeleteIf without a version: %v, want ErrInvalid", err)
		}
	case !exists:
		m.wantsMissing(t, err, m.key(sort))
	case current.Version != old:
		m.wantsConflict(t, err, m.key(sort), &current)
	case err != nil:
		t.Fatalf("DeleteIf(%q): %v", sort, err)
	default:
		delete(m.items, sort)
	}
}

func found(current kv.Item, exists bool) *kv.Item {
	if !exists {
		return nil
	}
	return &current
}

func (m *model) list(t *rapid.T) {
	bound := rapid.SampledFrom([]string{"", "a", "a/", "a//b", "aa", "ab", "b", "c"})
	from, to := bound.Draw(t, "from"), bound.Draw(t, "to")
	limit := rapid.IntRange(0, 4).Draw(t, "limit")
	opts := []kv.ReadOption{kv.Limit(limit)}
	want := slices.DeleteFunc(slices.Sorted(maps.Keys(m.items)), func(s string) bool {
		return s < from || to != "" && s >= to
	})
	if rapid.Bool().Draw(t, "reverse") {
		opts = append(opts, kv.Reverse)
		slices.Reverse(want)
	}
	if limit > 0 {
		want = want[:min(limit, len(want))]
	}
	got := m.query(t, m.key("").Partition, from, to, opts...)
	if !slices.Equal(sorts(got), want) {
		t.Fatalf("Query(%q, %q, %+v) = %q, want %q", from, to, kv.Resolve(opts), sorts(got), want)
	}
	for _, i := range got {
		if !same(i, m.items[i.Sort]) {
			t.Fatalf("Query yields %s, want %s", show(i), show(m.items[i.Sort]))
		}
	}
}
