package repo

import (
	"cmp"
	"errors"
	"iter"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

type from struct{ key, member int }

func TestMergeOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []from
		var seqs []iter.Seq2[from, error]
		for m := range rapid.IntRange(0, 5).Draw(t, "members") {
			keys := rapid.SliceOfNDistinct(rapid.IntRange(0, 20), 0, 10, rapid.ID).Draw(t, "keys")
			slices.Sort(keys)
			var items []from
			for _, k := range keys {
				items = append(items, from{k, m})
			}
			all = append(all, items...)
			seqs = append(seqs, func(yield func(from, error) bool) {
				for _, x := range items {
					if !yield(x, nil) {
						return
					}
				}
			})
		}
		byKey := func(a, b from) int { return cmp.Compare(a.key, b.key) }
		slices.SortStableFunc(all, byKey)
		var got []from
		for x, err := range merge(seqs, byKey, func(error) bool { return false }) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, x)
		}
		if !slices.Equal(got, all) {
			t.Fatalf("merged %v, want %v", got, all)
		}
	})
}

func TestMergeErrors(t *testing.T) {
	broken := errors.New("broken")
	fails := func(yield func(int, error) bool) { _ = yield(1, nil) && yield(0, broken) }
	works := func(yield func(int, error) bool) { _ = yield(2, nil) && yield(3, nil) }
	for _, skip := range []bool{true, false} {
		var got []int
		var failed error
		for x, err := range merge([]iter.Seq2[int, error]{fails, works}, cmp.Compare, func(error) bool { return skip }) {
			if failed = err; err != nil {
				break
			}
			got = append(got, x)
		}
		if skip && (failed != nil || !slices.Equal(got, []int{1, 2, 3})) {
			t.Errorf("with the error skipped: %v, %v", got, failed)
		}
		if !skip && !errors.Is(failed, broken) {
			t.Errorf("the error was lost: %v, %v", got, failed)
		}
	}
}
