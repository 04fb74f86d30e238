package kvtest

import (
	"errors"
	"testing"
	"time"

	"granary/kv"
)

func expiring(key kv.Key, value string, at time.Time) kv.Item {
	i := item(key, value)
	i.Expires = at
	return i
}

// testExpired uses items that have expired when they are written: whether the
// backend has dropped them or not, they are absent.
func testExpired(t *testing.T, e *env) {
	ctx := t.Context()
	past := e.now().Add(-time.Hour)
	key := e.key("k")
	gone := expiring(key, "gone", past)
	e.putIf(t, gone, "")
	e.wantsNone(t, key)
	if got := e.query(t, key.Partition, "", ""); len(got) != 0 {
		t.Errorf("Query yields the expired %q", sorts(got))
	}
	e.wantsConflict(t, e.store.PutIf(ctx, item(key, "x"), gone.Version), key, nil)
	e.wantsMissing(t, e.store.DeleteIf(ctx, key, gone.Version), key)

	live := item(key, "live")
	e.putIf(t, live, "")
	e.wants(t, live)

	// An item may be made to expire, and then be created anew.
	ended := expiring(key, "ended", past)
	err := e.store.PutIf(ctx, ended, live.Version)
	if err != nil && !(e.lossy && errors.Is(err, kv.ErrConflict)) { // its repetition finds it expired
		t.Fatalf("PutIf of an expired item over a live one: %v", err)
	}
	e.wantsNone(t, key)
	e.wants(t, e.put(t, key, "anew"))

	blind := expiring(e.blindKey("b"), "gone", past)
	if err := e.store.Put(ctx, blind); err != nil {
		t.Fatal(err)
	}
	e.wantsNone(t, blind.Key)
	if err := e.store.Delete(ctx, blind.Key); err != nil {
		t.Errorf("Delete of an expired item: %v", err)
	}
	if err := e.store.BatchPut(ctx, []kv.Item{expiring(blind.Key, "gone", past), item(e.blindKey("c"), "live")}); err != nil {
		t.Fatal(err)
	}
	e.wantsNone(t, blind.Key)

	// A limit counts what is there.
	for _, sort := range []string{"a", "b", "l", "x"} {
		e.putIf(t, expiring(e.key(sort), sort, past), "")
	}
	e.put(t, e.key("m"), "")
	for _, opts := range [][]kv.ReadOption{{kv.Limit(2)}, {kv.Limit(2), kv.Reverse}, {kv.Limit(2), kv.KeysOnly}} {
		if got := e.query(t, key.Partition, "", "", opts...); len(got) != 2 {
			t.Errorf("Query with a limit of 2 over expired items: %q, want k and m", sorts(got))
		}
	}
}

func testExpiry(t *testing.T, e *env) {
	ctx := t.Context()
	far := expiring(e.key("far"), "far", e.now().Add(e.lasts+time.Hour))
	soon := expiring(e.key("soon"), "soon", e.now().Add(e.lasts))
	blind := expiring(e.blindKey("soon"), "soon", e.now().Add(e.lasts))
	extended := expiring(e.key("extended"), "v", e.now().Add(e.lasts))
	for _, i := range []kv.Item{far, soon, extended} {
		e.putIf(t, i, "")
	}
	if err := e.store.Put(ctx, blind); err != nil {
		t.Fatal(err)
	}
	e.wants(t, far)
	got, err := e.store.Get(ctx, far.Key, kv.Consistent)
	if err != nil || !got.Expires.Equal(far.Expires.Truncate(time.Second)) {
		t.Errorf("expires %v, %v, want %v in whole seconds", got.Expires, err, far.Expires)
	}
	kept := item(extended.Key, "for ever")
	e.putIf(t, kept, extended.Version)

	e.advance(e.lasts + time.Second)
	e.wantsNone(t, soon.Key)
	e.wantsNone(t, blind.Key)
	e.wants(t, far)
	e.wants(t, kept)
	if got := e.query(t, soon.Partition, "", ""); len(got) != 2 {
		t.Errorf("Query yields %q, want extended and far", sorts(got))
	}
	e.wantsConflict(t, e.store.PutIf(ctx, item(soon.Key, "x"), soon.Version), soon.Key, nil)
	e.wants(t, e.put(t, soon.Key, "anew"))
}
