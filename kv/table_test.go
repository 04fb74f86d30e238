package kv_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"granary/kv"
	"granary/kv/mem"
)

type doc struct {
	kv.Extra `cbor:"-"`
	N        int       `cbor:"1,keyasint,omitempty"`
	Until    time.Time `cbor:"2,keyasint,omitzero"`
}

var docKey = kv.Key{Partition: "cfg/doc", Sort: "k"}

func docs(t *testing.T, o mem.Options) kv.Table[doc] {
	o.Misuse = func(err error) { t.Error(err) }
	return kv.Table[doc]{Store: mem.New(o), Expires: func(d doc) time.Time { return d.Until }}
}

func add(old doc, _ bool) (doc, error) {
	old.N++
	return old, nil
}

func TestTable(t *testing.T) {
	ctx := t.Context()
	table := docs(t, mem.Options{})
	if _, _, err := table.Get(ctx, docKey); !errors.Is(err, kv.ErrNotFound) {
		t.Fatalf("Get: %v", err)
	}
	v1, err := table.Create(ctx, docKey, doc{N: 1})
	if err != nil {
		t.Fatal(err)
	}
	_, conflict := table.Create(ctx, docKey, doc{N: 2})
	if !errors.Is(conflict, kv.ErrConflict) {
		t.Fatalf("second Create: %v", conflict)
	}
	if got, v, err := table.Found(ctx, docKey, conflict); err != nil || got.N != 1 || v != v1 {
		t.Errorf("Found = %+v, %s, %v", got, v, err)
	}
	v2, err := table.Replace(ctx, docKey, doc{N: 2}, v1)
	if err != nil {
		t.Fatal(err)
	}
	if got, v, err := table.Get(ctx, docKey); err != nil || got.N != 2 || v != v2 {
		t.Errorf("Get = %+v, %s, %v", got, v, err)
	}
	if err := table.Delete(ctx, docKey, v1); !errors.Is(err, kv.ErrConflict) {
		t.Errorf("Delete of the old version: %v", err)
	}
	if err := table.Delete(ctx, docKey, v2); err != nil {
		t.Error(err)
	}
	if _, err := table.Create(ctx, docKey, doc{Until: time.Now().Add(-time.Hour)}); err != nil {
		t.Error(err)
	}
	if _, _, err := table.Get(ctx, docKey); !errors.Is(err, kv.ErrNotFound) {
		t.Errorf("Get of an expired row: %v", err)
	}
}

func TestUpdate(t *testing.T) {
	ctx := t.Context()
	table := docs(t, mem.Options{})
	got, err := table.Update(ctx, docKey, func(old doc, exists bool) (doc, error) {
		if exists || old.N != 0 {
			t.Errorf("first update sees %+v, %v", old, exists)
		}
		return doc{N: 5}, nil
	})
	if err != nil || got.N != 5 {
		t.Fatalf("Update = %+v, %v", got, err)
	}
	got, err = table.Update(ctx, docKey, func(old doc, exists bool) (doc, error) {
		if !exists {
			t.Error("second update sees nothing")
		}
		return doc{N: 9}, kv.ErrUnchanged
	})
	if err != nil || got.N != 5 {
		t.Errorf("unchanged: %+v, %v, want what is stored", got, err)
	}
	stop := errors.New("stop")
	if _, err := table.Update(ctx, docKey, func(doc, bool) (doc, error) { return doc{}, stop }); err != stop {
		t.Errorf("stopped: %v, want the function's own error", err)
	}
}

func TestUpdateAgainstOthers(t *testing.T) {
	synctest.Test(t, testUpdateAgainstOthers) // the waits take no time
}

func testUpdateAgainstOthers(t *testing.T) {
	var table kv.Table[doc]
	interfering := 0
	table = docs(t, mem.Options{Before: func(op mem.Op) error {
		if op.Method == "PutIf" && interfering > 0 {
			interfering--
			keep := interfering
			interfering = 0
			_, err := table.Update(context.Background(), docKey, add)
			interfering = keep
			return err
		}
		return nil
	}})
	interfering = 6
	if got, err := table.Update(t.Context(), docKey, add); err != nil || got.N != 7 {
		t.Errorf("after 6 others: %+v, %v", got, err)
	}
	interfering = 1 << 20
	if _, err := table.Update(t.Context(), docKey, add); !errors.Is(err, kv.ErrConflict) {
		t.Errorf("against a writer without end: %v, want ErrConflict", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := table.Update(ctx, docKey, func(old doc, _ bool) (doc, error) {
		cancel()
		return old, nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestTableQuery(t *testing.T) {
	ctx := t.Context()
	table := docs(t, mem.Options{})
	for n, sort := range []string{"a", "b", "c"} {
		if _, err := table.Create(ctx, kv.Key{Partition: "p", Sort: sort}, doc{N: n + 1}); err != nil {
			t.Fatal(err)
		}
	}
	sum := 0
	for row, err := range table.Query(ctx, "p", "b", "") {
		if err != nil || row.Version == "" {
			t.Fatal(row, err)
		}
		sum += row.Value.N
	}
	if sum != 5 {
		t.Errorf("sum of b and c is %d, want 5", sum)
	}
	keys := ""
	for row, err := range table.Query(ctx, "p", "", "", kv.KeysOnly, kv.Reverse) {
		if err != nil {
			t.Fatal(err)
		}
		keys += row.Sort
	}
	if keys != "cba" {
		t.Errorf("keys %q", keys)
	}

	bad := kv.Item{Key: kv.Key{Partition: "p", Sort: "aa"}, Value: []byte("not CBOR"), Version: kv.NewVersion()}
	if err := table.Store.PutIf(ctx, bad, ""); err != nil {
		t.Fatal(err)
	}
	rows := 0
	var last error
	for _, err := range table.Query(ctx, "p", "", "") {
		rows, last = rows+1, err
	}
	if rows != 2 || last == nil || !strings.Contains(last.Error(), "p aa") {
		t.Errorf("Query over garbage yields %d times, last %v, want an error that names the key", rows, last)
	}
	if _, _, err := table.Get(ctx, bad.Key); err == nil {
		t.Error("Get of garbage: want an error")
	}
	if _, err := table.Update(ctx, bad.Key, add); err == nil {
		t.Error("Update of garbage: want an error")
	}
}
