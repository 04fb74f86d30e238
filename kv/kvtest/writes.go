package kvtest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"granary/kv"
)

func testReadBack(t *testing.T, e *env) {
	e.wantsNone(t, e.key("missing"))
	values := map[string]string{
		"empty": "", "text": "hello", "binary": "\x00\xff\x80 \n", "1k": strings.Repeat("k", 1024),
		"largest": strings.Repeat("v", kv.MaxValue),
	}
	for name, value := range values {
		e.wants(t, e.put(t, e.key(name), value))
	}

	// What the caller does to its bytes later is no business of the store.
	i := item(e.key("kept"), "original")
	e.putIf(t, i, "")
	copy(i.Value, "CHANGED!")
	i.Value = []byte("original")
	e.wants(t, i)
}

func testVersions(t *testing.T, e *env) {
	key := e.key("k")
	ctx := t.Context()

	e.wantsConflict(t, e.store.PutIf(ctx, item(key, "x"), kv.NewVersion()), key, nil)
	e.wantsNone(t, key)

	first := e.put(t, key, "first")
	e.wantsConflict(t, e.store.PutIf(ctx, item(key, "x"), ""), key, &first)
	e.wantsConflict(t, e.store.PutIf(ctx, item(key, "x"), kv.NewVersion()), key, &first)
	e.wants(t, first)

	second := item(key, "second")
	e.putIf(t, second, first.Version)
	e.wants(t, second)
	e.wantsConflict(t, e.store.PutIf(ctx, item(key, "x"), first.Version), key, &second)

	// The same bytes under another version are another write.
	third := item(key, "second")
	e.putIf(t, third, second.Version)
	e.wants(t, third)

	if err := e.store.PutIf(ctx, kv.Item{Key: key, Value: []byte("x")}, third.Version); !errors.Is(err, kv.ErrInvalid) {
		t.Errorf("PutIf without a version: %v, want ErrInvalid", err)
	}

	// An old version does not come back with the key.
	if err := e.store.DeleteIf(ctx, key, third.Version); err != nil {
		t.Fatal(err)
	}
	e.wantsConflict(t, e.store.PutIf(ctx, item(key, "x"), third.Version), key, nil)
	again := e.put(t, key, "again")
	e.wantsConflict(t, e.store.PutIf(ctx, item(key, "x"), third.Version), key, &again)
}

func testOwnVersion(t *testing.T, e *env) {
	key := e.key("k")
	first := e.put(t, key, "first")
	e.putIf(t, first, "")
	second := item(key, "second")
	e.putIf(t, second, first.Version)
	e.putIf(t, second, first.Version)
	e.wants(t, second)
	e.wantsConflict(t, e.store.PutIf(t.Context(), first, ""), key, &second)
	e.wants(t, second)
}

func testDeleteIf(t *testing.T, e *env) {
	ctx := t.Context()
	key := e.key("k")
	e.wantsMissing(t, e.store.DeleteIf(ctx, key, kv.NewVersion()), key)
	first := e.put(t, key, "first")
	e.wantsConflict(t, e.store.DeleteIf(ctx, key, kv.NewVersion()), key, &first)
	if err := e.store.DeleteIf(ctx, key, ""); !errors.Is(err, kv.ErrInvalid) {
		t.Errorf("DeleteIf without a version: %v, want ErrInvalid", err)
	}
	e.wants(t, first)
	if err := e.store.DeleteIf(ctx, key, first.Version); err != nil {
		t.Fatalf("DeleteIf: %v", err)
	}
	e.wantsNone(t, key)
	if got := e.query(t, key.Partition, "", ""); len(got) != 0 {
		t.Errorf("Query after DeleteIf: %q", sorts(got))
	}
	e.wantsMissing(t, e.store.DeleteIf(ctx, key, first.Version), key)
	e.wants(t, e.put(t, key, "again"))
}

func testLazy(t *testing.T, e *env) {
	ctx := t.Context()
	key := e.key("lazy")
	first := item(key, "first")
	for range 2 {
		if err := kv.PutIfLazy(ctx, e.store, first, ""); err != nil {
			t.Fatalf("PutIfLazy: %v", err)
		}
	}
	e.wants(t, first)
	e.wantsConflict(t, kv.PutIfLazy(ctx, e.store, item(key, "x"), ""), key, &first)
	second := item(key, "second")
	e.putIf(t, second, first.Version)
	e.wantsConflict(t, kv.PutIfLazy(ctx, e.store, item(key, "x"), first.Version), key, &second)
	e.wants(t, second)
	if err := kv.PutIfLazy(ctx, e.store, kv.Item{Key: key}, second.Version); !errors.Is(err, kv.ErrInvalid) {
		t.Errorf("PutIfLazy without a version: %v, want ErrInvalid", err)
	}
	if err := kv.PutIfLazy(cancelled(t), e.store, item(key, "x"), second.Version); err == nil {
		t.Error("PutIfLazy with an ended context: want an error")
	}
	e.wants(t, second)
}

func testBlind(t *testing.T, e *env) {
	ctx := t.Context()
	key := e.blindKey("k")
	if err := e.store.Delete(ctx, key); err != nil {
		t.Fatalf("Delete of a missing item: %v", err)
	}
	for _, value := range []string{"first", "second"} {
		i := item(key, value)
		if err := e.store.Put(ctx, i); err != nil {
			t.Fatalf("Put: %v", err)
		}
		e.wants(t, i)
	}
	if err := e.store.Put(ctx, kv.Item{Key: key, Value: []byte("third")}); err != nil {
		t.Fatalf("Put without a version: %v", err)
	}
	got, err := e.store.Get(ctx, key, kv.Consistent)
	if err != nil || string(got.Value) != "third" || got.Version == "" {
		t.Fatalf("after a Put without a version: %s, %v", show(got), err)
	}
	for range 2 {
		if err := e.store.Delete(ctx, key); err != nil {
			t.Fatalf("Delete: %v", err)
		}
		e.wantsNone(t, key)
	}
}

func testBatch(t *testing.T, e *env) {
	ctx := t.Context()
	if err := e.store.BatchPut(ctx, nil); err != nil {
		t.Fatalf("BatchPut of nothing: %v", err)
	}
	var items []kv.Item
	for n := range 60 {
		size := 10
		if n%20 == 0 {
			size = kv.MaxValue // some requests' worth on backends that bound them
		}
		items = append(items, item(e.blindKey(fmt.Sprintf("%03d", n)), strings.Repeat("b", size)))
	}
	if err := e.store.BatchPut(ctx, items); err != nil {
		t.Fatalf("BatchPut: %v", err)
	}
	got := e.query(t, e.blindKey("").Partition, "", "")
	if len(got) != len(items) {
		t.Fatalf("%d items after a batch of %d", len(got), len(items))
	}
	for n := range items {
		if !same(got[n], items[n]) {
			t.Fatalf("item %d is %s, want %s", n, show(got[n]), show(items[n]))
		}
	}

	// Blind: an existing item is replaced. No partition yet: conditional later.
	items[5] = item(items[5].Key, "replaced")
	fresh := []kv.Item{item(e.key("a"), "1"), {Key: e.key("b"), Value: []byte("2")}}
	if err := e.store.BatchPut(ctx, append(fresh, items[5])); err != nil {
		t.Fatalf("BatchPut over an item: %v", err)
	}
	e.wants(t, items[5])
	e.putIf(t, item(e.key("a"), "3"), fresh[0].Version)

	bad := []kv.Item{item(e.blindKey("never"), "x"), item(e.blindKey(""), "x")}
	if err := e.store.BatchPut(ctx, bad); !errors.Is(err, kv.ErrInvalid) {
		t.Errorf("BatchPut with an empty key: %v, want ErrInvalid", err)
	}
	e.wantsNone(t, bad[0].Key)
}
