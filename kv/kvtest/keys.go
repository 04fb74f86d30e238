package kvtest

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"granary/kv"
)

// nasty are sort keys that naive encodings confuse or misplace.
var nasty = []string{
	"a", "a ", " a", "A", "aa", "a/b", "a//b", "a//\x01b", "a0", "a.", "a'b\"c`", "%2e%2e", "..", "-", "*", "#a", ":a",
	"\x01", "\x01\x01", "\x02", "\x7f", "a\tb", "a\nb", "\\", "é", "e\u0301", "日本", "\u2028", "\uffff", "\U00010000", "\U0010ffff",
	strings.Repeat("n", kv.MaxSort), strings.Repeat("n", kv.MaxSort-1), strings.Repeat("é", kv.MaxSort/2),
}

func testNastyKeys(t *testing.T, e *env) {
	e.roundTrips(t, nasty)
	for _, suffix := range []string{" ", "/", "//", "\x01", "é", "\U0010ffff"} {
		i := item(kv.Key{Partition: e.key("").Partition + suffix, Sort: "a"}, suffix)
		e.putIf(t, i, "")
		e.wants(t, i)
		if got := e.query(t, i.Partition, "", ""); len(got) != 1 || !same(got[0], i) {
			t.Errorf("partition %q holds %q", i.Partition, sorts(got))
		}
	}
	partition := e.key("").Partition
	long := item(kv.Key{Partition: partition + strings.Repeat("p", kv.MaxPartition-len(partition)), Sort: "a"}, "long")
	e.putIf(t, long, "")
	e.wants(t, long)
}

func testNUL(t *testing.T, e *env) {
	e.roundTrips(t, []string{"\x00", "\x00\x00", "\x00\x01", "a", "a\x00", "a\x00\x00", "a\x00b", "a\x01", "ab"})
	a := item(kv.Key{Partition: "z/" + e.name + "\x00", Sort: "b"}, "1")
	b := item(kv.Key{Partition: "z/" + e.name, Sort: "\x00b"}, "2")
	for _, i := range []kv.Item{a, b} {
		e.putIf(t, i, "")
	}
	e.wants(t, a)
	e.wants(t, b)
	if got := e.query(t, a.Partition, "", ""); len(got) != 1 || !same(got[0], a) {
		t.Errorf("partition %q holds %q", a.Partition, sorts(got))
	}
}

// roundTrips writes items under keys, reads each and queries them in order.
func (e *env) roundTrips(t *testing.T, keys []string) {
	t.Helper()
	want := map[string]kv.Item{}
	for _, sort := range keys {
		want[sort] = e.put(t, e.key(sort), "value of "+sort[:min(len(sort), 9)])
	}
	order := slices.Sorted(slices.Values(keys))
	got := e.query(t, e.key("").Partition, "", "")
	if !slices.Equal(sorts(got), order) {
		t.Fatalf("Query gives\n%q, want\n%q", sorts(got), order)
	}
	for n, sort := range order {
		e.wants(t, want[sort])
		if !same(got[n], want[sort]) {
			t.Errorf("Query gives %s, want %s", show(got[n]), show(want[sort]))
		}
		from := e.query(t, e.key("").Partition, sort, "", kv.Limit(1))
		if len(from) != 1 || from[0].Sort != sort {
			t.Errorf("Query from %q begins with %q", sort, sorts(from))
		}
		if to := e.query(t, e.key("").Partition, "", sort); len(to) != n {
			t.Errorf("Query to %q gives %d items, want %d", sort, len(to), n)
		}
	}
}

// refuses checks that every method refuses a key.
func (e *env) refuses(t *testing.T, key kv.Key, want error) {
	t.Helper()
	ctx := t.Context()
	_, getErr := e.store.Get(ctx, key)
	for method, err := range map[string]error{
		"Get":      getErr,
		"Put":      e.store.Put(ctx, item(key, "x")),
		"PutIf":    e.store.PutIf(ctx, item(key, "x"), ""),
		"Delete":   e.store.Delete(ctx, key),
		"DeleteIf": e.store.DeleteIf(ctx, key, "v"),
		"BatchPut": e.store.BatchPut(ctx, []kv.Item{item(key, "x")}),
		"Lazy":     kv.PutIfLazy(ctx, e.store, item(key, "x"), ""),
	} {
		if !errors.Is(err, want) {
			t.Errorf("%s(%.40q %.40q): %v, want %v", method, key.Partition, key.Sort, err, want)
		}
	}
}

func testInvalidKeys(t *testing.T, e *env) {
	e.refuses(t, kv.Key{Partition: "", Sort: "a"}, kv.ErrInvalid)
	e.refuses(t, kv.Key{Partition: "t/" + e.name, Sort: ""}, kv.ErrInvalid)
	e.refuses(t, kv.Key{Partition: "t/" + e.name, Sort: "a\xff"}, kv.ErrInvalid)
	e.refuses(t, kv.Key{Partition: "t/" + e.name + "\xc3", Sort: "a"}, kv.ErrInvalid)
	e.refuses(t, kv.Key{Partition: "t/" + e.name, Sort: "\xed\xa0\x80"}, kv.ErrInvalid)
	e.refuses(t, kv.Key{Partition: "t/" + strings.Repeat("p", kv.MaxPartition-1), Sort: "a"}, kv.ErrTooLarge)
	e.refuses(t, kv.Key{Partition: "t/" + e.name, Sort: strings.Repeat("s", kv.MaxSort+1)}, kv.ErrTooLarge)

	for _, q := range []struct {
		partition, from, to string
		want                error
	}{
		{"", "", "", kv.ErrInvalid},
		{"z/\xff", "", "", kv.ErrInvalid},
		{"z/" + e.name, "\xff", "", kv.ErrInvalid},
		{"z/" + e.name, "", "a\xff", kv.ErrInvalid},
		{strings.Repeat("p", kv.MaxPartition+1), "", "", kv.ErrTooLarge},
		{"z/" + e.name, "", strings.Repeat("s", kv.MaxSort+1), kv.ErrTooLarge},
	} {
		var last error
		n := 0
		for _, err := range e.store.Query(t.Context(), q.partition, q.from, q.to) {
			n, last = n+1, err
		}
		if n != 1 || !errors.Is(last, q.want) {
			t.Errorf("Query(%.20q, %.20q, %.20q) yields %d times, last %v, want one %v", q.partition, q.from, q.to, n, last, q.want)
		}
	}
}

func testTooLarge(t *testing.T, e *env) {
	ctx := t.Context()
	big := strings.Repeat("x", kv.MaxValue+1)
	i := item(e.key("k"), big)
	blind := item(e.blindKey("k"), big)
	for method, err := range map[string]error{
		"Put":      e.store.Put(ctx, blind),
		"PutIf":    e.store.PutIf(ctx, i, ""),
		"Lazy":     kv.PutIfLazy(ctx, e.store, i, ""),
		"BatchPut": e.store.BatchPut(ctx, []kv.Item{item(e.blindKey("small"), ""), blind}),
	} {
		if !errors.Is(err, kv.ErrTooLarge) {
			t.Errorf("%s of %d bytes: %v, want ErrTooLarge", method, len(big), err)
		}
	}
	e.wantsNone(t, i.Key)
	e.wantsNone(t, blind.Key)
	e.wantsNone(t, e.blindKey("small"))
}
