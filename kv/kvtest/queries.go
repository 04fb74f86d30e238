package kvtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"granary/kv"
)

func testRanges(t *testing.T, e *env) {
	partition := e.key("").Partition
	if got := e.query(t, partition, "", ""); len(got) != 0 {
		t.Fatalf("an unknown partition holds %q", sorts(got))
	}
	for _, sort := range []string{"d", "b", "a", "c", "bb"} {
		e.put(t, e.key(sort), sort)
	}
	tests := []struct {
		from, to string
		opts     []kv.ReadOption
		want     string
	}{
		{"", "", nil, "a b bb c d"},
		{"a", "d", nil, "a b bb c"},
		{"b", "b\x01", nil, "b"},
		{"ba", "", nil, "bb c d"},
		{"", "b", nil, "a"},
		{"b", "bb", nil, "b"},
		{"e", "", nil, ""},
		{"", "0", nil, ""},
		{"b", "b", nil, ""},
		{"c", "b", nil, ""},
		{"", "", []kv.ReadOption{kv.Reverse}, "d c bb b a"},
		{"b", "d", []kv.ReadOption{kv.Reverse}, "c bb b"},
		{"c", "b", []kv.ReadOption{kv.Reverse}, ""},
		{"", "", []kv.ReadOption{kv.Limit(2)}, "a b"},
		{"b", "c", []kv.ReadOption{kv.Limit(9)}, "b bb"},
		{"", "d", []kv.ReadOption{kv.Limit(1), kv.Reverse}, "c"},
		{"", "", []kv.ReadOption{kv.Limit(5)}, "a b bb c d"},
		{"", "", []kv.ReadOption{kv.KeysOnly}, "a b bb c d"},
	}
	for _, test := range tests {
		got := e.query(t, partition, test.from, test.to, test.opts...)
		if strings.Join(sorts(got), " ") != test.want {
			t.Errorf("Query(%q, %q, %+v) = %q, want %q", test.from, test.to, kv.Resolve(test.opts), sorts(got), test.want)
		}
		for _, i := range got {
			if i.Partition != partition || i.Version == "" || string(i.Value) != i.Sort && !kv.Resolve(test.opts).KeysOnly {
				t.Errorf("Query(%q, %q) yields %s", test.from, test.to, show(i))
			}
		}
	}

	// A sequence may be left early and run again.
	seq := e.store.Query(t.Context(), partition, "", "", kv.Consistent)
	for range 2 {
		for i, err := range seq {
			if err != nil || i.Sort != "a" {
				t.Fatalf("first of a sequence: %s, %v", show(i), err)
			}
			break
		}
	}
}

func testByteOrder(t *testing.T, e *env) {
	keys := []string{"a", "B", "é", "z", "\uffff", "\U00010000", "\U0010ffff", "~", "\x01", "\x7f", "aa", "a\x01", "a\x01a"}
	for _, sort := range keys {
		e.put(t, e.key(sort), "")
	}
	want := slices.Sorted(slices.Values(keys))
	if got := sorts(e.query(t, e.key("").Partition, "", "")); !slices.Equal(got, want) {
		t.Errorf("order %q, want that of bytes %q", got, want)
	}
	slices.Reverse(want)
	if got := sorts(e.query(t, e.key("").Partition, "", "", kv.Reverse)); !slices.Equal(got, want) {
		t.Errorf("reverse order %q, want that of bytes %q", got, want)
	}
}

// testNeighbours has partitions whose names begin with one another.
func testNeighbours(t *testing.T, e *env) {
	base := e.key("").Partition
	partitions := []string{base, base + "a", base + "/", base + "/a", base + "\x01", base + "b", base + "\U0010ffff"}
	keys := []string{"a", "aa", "b", "/", "/a", "\x01", "\U0010ffff"}
	for _, p := range partitions {
		for _, sort := range keys {
			e.putIf(t, item(kv.Key{Partition: p, Sort: sort}, p+" "+sort), "")
		}
	}
	want := slices.Sorted(slices.Values(keys))
	for _, p := range partitions {
		got := e.query(t, p, "", "")
		if !slices.Equal(sorts(got), want) {
			t.Errorf("partition %q holds %q, want %q", p, sorts(got), want)
		}
		for _, i := range got {
			if string(i.Value) != p+" "+i.Sort {
				t.Errorf("partition %q holds %s", p, show(i))
			}
		}
		slices.Reverse(got)
		if back := e.query(t, p, "", "", kv.Reverse); !slices.Equal(sorts(back), sorts(got)) {
			t.Errorf("partition %q backwards is %q", p, sorts(back))
		}
	}
}

// fill writes n items of mixed sizes, above a KiB on average, and returns their
// keys in order.
func (e *env) fill(t *testing.T, n int) []string {
	t.Helper()
	var batch []kv.Item
	keys := make([]string, n)
	for k := range keys {
		keys[k] = fmt.Sprintf("%06d", k)
		size := 100
		switch {
		case k%500 == 7:
			size = 200 << 10
		case k%10 == 0:
			size = 10 << 10
		}
		batch = append(batch, item(e.key(keys[k]), strings.Repeat("q", size)))
		if len(batch) == 200 || k == n-1 {
			if err := e.store.BatchPut(t.Context(), batch); err != nil {
				t.Fatalf("BatchPut: %v", err)
			}
			batch = nil
		}
	}
	return keys
}

func testLongQuery(t *testing.T, e *env) {
	keys := e.fill(t, e.items)
	partition := e.key("").Partition
	n := len(keys)
	back := slices.Clone(keys)
	slices.Reverse(back)
	tests := []struct {
		name     string
		from, to string
		opts     []kv.ReadOption
		want     []string
	}{
		{"all", "", "", nil, keys},
		{"keys only", "", "", []kv.ReadOption{kv.KeysOnly}, keys},
		{"reverse", "", "", []kv.ReadOption{kv.Reverse}, back},
		{"middle", keys[n/10], keys[n-n/10], nil, keys[n/10 : n-n/10]},
		{"middle reverse", keys[n/10], keys[n-n/10], []kv.ReadOption{kv.Reverse}, back[n/10 : n-n/10]},
		{"limit", keys[1], "", []kv.ReadOption{kv.Limit(n / 2)}, keys[1 : 1+n/2]},
		{"limit reverse", "", keys[n-1], []kv.ReadOption{kv.Limit(n / 2), kv.Reverse}, back[1 : 1+n/2]},
	}
	for _, test := range tests {
		if got := sorts(e.query(t, partition, test.from, test.to, test.opts...)); !slices.Equal(got, test.want) {
			t.Errorf("%s: %d items, want %d", test.name, len(got), len(test.want))
		}
	}
}

// testQueryWhileWriting changes the partition during a query: what is there
// all the time is seen exactly once and in order.
func testQueryWhileWriting(t *testing.T, e *env) {
	keys := e.fill(t, e.items)
	seen := map[string]bool{}
	last := ""
	n := 0
	for i, err := range e.store.Query(t.Context(), e.key("").Partition, "", "", kv.Consistent) {
		if err != nil {
			t.Fatal(err)
		}
		if i.Sort <= last {
			t.Fatalf("%q after %q", i.Sort, last)
		}
		last, seen[i.Sort] = i.Sort, true
		if n++; n%300 == 1 {
			e.put(t, e.key(i.Sort+" before the next"), "new")
			e.put(t, e.key(fmt.Sprintf("%06d earlier", n/2)), "new")
			if err := e.store.DeleteIf(t.Context(), i.Key, i.Version); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, sort := range keys {
		if !seen[sort] {
			t.Errorf("%q was not seen", sort)
		}
	}
}

func testCancelled(t *testing.T, e *env) {
	ctx := cancelled(t)
	kept := e.put(t, e.key("kept"), "kept")
	_, getErr := e.store.Get(ctx, kept.Key)
	var queryErr error
	for _, err := range e.store.Query(ctx, kept.Partition, "", "") {
		queryErr = err
	}
	for method, err := range map[string]error{
		"Get":      getErr,
		"Put":      e.store.Put(ctx, item(e.blindKey("k"), "x")),
		"PutIf":    e.store.PutIf(ctx, item(kept.Key, "x"), kept.Version),
		"Delete":   e.store.Delete(ctx, e.blindKey("k")),
		"DeleteIf": e.store.DeleteIf(ctx, kept.Key, kept.Version),
		"Query":    queryErr,
		"BatchPut": e.store.BatchPut(ctx, []kv.Item{item(e.blindKey("k"), "x")}),
	} {
		if !errors.Is(err, context.Canceled) && !errors.Is(err, kv.ErrUnknown) {
			t.Errorf("%s with an ended context: %v, want context.Canceled", method, err)
		}
	}
	e.wants(t, kept)
	e.wantsNone(t, e.blindKey("k"))

	// Cancelled between two items, a query ends, with that error unless it was done.
	e.name += "/long"
	keys := e.fill(t, e.items)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	for _, err := range e.store.Query(ctx, e.key("").Partition, "", "", kv.Consistent) {
		if err == nil {
			n++
			cancel()
			continue
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled query: %v, want context.Canceled", err)
		}
		n = -1
	}
	if n >= 0 && n < len(keys) {
		t.Errorf("cancelled query ended after %d of %d items without an error", n, len(keys))
	}
}
