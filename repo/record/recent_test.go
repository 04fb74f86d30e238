package record

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// recent against a list in order of use.
func TestRecent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit = 4
		r, order, values := newRecent[int, int](limit), []int{}, map[int]int{}
		for i := range rapid.IntRange(0, 50).Draw(t, "operations") {
			key := rapid.IntRange(0, 7).Draw(t, "key")
			at := slices.Index(order, key)
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				r.drop(key)
				if at >= 0 {
					order = slices.Delete(order, at, at+1)
				}
			case 1:
				v, ok := r.get(key)
				if ok != (at >= 0) || ok && v != values[key] {
					t.Fatalf("get(%d) = %d, %v; in order of use: %v", key, v, ok, order)
				}
				if ok {
					order = append(slices.Delete(order, at, at+1), key)
				}
			default:
				r.set(key, i)
				values[key] = i
				if at >= 0 {
					order = slices.Delete(order, at, at+1)
				} else if len(order) == limit {
					order = order[1:]
				}
				order = append(order, key)
			}
			if len(r.entries) != len(order) {
				t.Fatalf("%d entries, want %v", len(r.entries), order)
			}
		}
	})
}
