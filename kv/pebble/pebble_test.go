package pebble

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"granary/kv"
	"granary/kv/kvtest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		crashChild(dir)
	}
	os.Exit(m.Run())
}

// quiet is for tests that make the store complain.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func open(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	var skipped atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(skipped.Load())) }
	// A small memory table, so that reads also meet tables on disk.
	o := Options{Now: now, Memtable: 256 << 10, Logger: quiet()}
	kvtest.Test(t, func(t *testing.T) kv.Store { return open(t, t.TempDir(), o) },
		kvtest.Clock(now, func(d time.Duration) { skipped.Add(int64(d)) }), kvtest.Steps(20))
}

func item(n int, value string) kv.Item {
	return kv.Item{
		Key:     kv.Key{Partition: "a/repo/0000", Sort: fmt.Sprintf("dir//%07d", n)},
		Value:   []byte(value),
		Version: kv.NewVersion(),
	}
}

func put(t testing.TB, s *Store, i kv.Item) {
	t.Helper()
	if err := s.PutIf(t.Context(), i, ""); err != nil {
		t.Fatal(err)
	}
}

func TestReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := open(t, dir, Options{})
	i := item(1, "v")
	put(t, s, i)
	lazy := item(2, "v")
	if err := s.PutIfLazy(t.Context(), lazy, ""); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, dir, Options{})
	for _, want := range []kv.Item{i, lazy} {
		got, err := s.Get(t.Context(), want.Key)
		if err != nil || got.Version != want.Version || string(got.Value) != "v" {
			t.Errorf("after reopening: %v, %v", got, err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v, want it closed to others", info.Mode(), err)
	}
}

func TestLocked(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir, Options{})
	_, err := Open(dir, Options{})
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Fatalf("second Open: %v, want ErrLocked with the directory", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir, Options{})
}

func TestOpenFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file, Options{}); err == nil || errors.Is(err, ErrLocked) {
		t.Errorf("Open of a file: %v", err)
	}
}

func TestSchema(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	if err := s.db.Set(schemaKey, []byte("99"), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the failed Open has let go of the directory
		if _, err := Open(dir, Options{}); !errors.Is(err, ErrSchema) {
			t.Errorf("Open of a later schema: %v, want ErrSchema", err)
		}
	}
}

func TestClosed(t *testing.T) {
	ctx := t.Context()
	s := open(t, t.TempDir(), Options{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	i := item(1, "")
	_, get := s.Get(ctx, i.Key)
	var query error
	for _, err := range s.Query(ctx, i.Partition, "", "") {
		query = err
	}
	_, drop := s.DropExpired(ctx, "t/")
	for name, err := range map[string]error{
		"Get": get, "Query": query, "DropExpired": drop,
		"Put": s.Put(ctx, i), "PutIf": s.PutIf(ctx, i, ""), "PutIfLazy": s.PutIfLazy(ctx, i, ""),
		"Delete": s.Delete(ctx, i.Key), "DeleteIf": s.DeleteIf(ctx, i.Key, "1"), "BatchPut": s.BatchPut(ctx, []kv.Item{i}),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", name, err)
		}
	}
}

func TestCloseDuringQuery(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	for n := range 200 {
		if err := s.PutIfLazy(t.Context(), item(n, "v"), ""); err != nil {
			t.Fatal(err)
		}
	}
	var last error
	for _, err := range s.Query(t.Context(), item(0, "").Partition, "", "") {
		last = err
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if !errors.Is(last, ErrClosed) {
		t.Errorf("query over a store that closes ends in %v, want ErrClosed", last)
	}
}

func TestCorruptRecords(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	key := item(1, "").Key
	for _, stored := range []string{"", "\x02", "\x00", "\x00\x05abc", "\x01\x01v1234567", "\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"} {
		if err := s.db.Set(encodeKey(key), []byte(stored), nil); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(t.Context(), key); !errors.Is(err, errCorrupt) {
			t.Errorf("Get of %q: %v, want errCorrupt", stored, err)
		}
		var last error
		for _, err := range s.Query(t.Context(), key.Partition, "", "") {
			last = err
		}
		if !errors.Is(last, errCorrupt) {
			t.Errorf("Query over %q: %v, want errCorrupt", stored, last)
		}
		if err := s.PutIf(t.Context(), item(1, ""), ""); !errors.Is(err, errCorrupt) {
			t.Errorf("PutIf over %q: %v, want errCorrupt", stored, err)
		}
	}
}

func TestDropExpired(t *testing.T) {
	ctx := t.Context()
	now := time.Now()
	s := open(t, t.TempDir(), Options{Now: func() time.Time { return now }})
	var batch []kv.Item
	for n := range 2500 {
		i := kv.Item{Key: kv.Key{Partition: fmt.Sprintf("t/%d", n%3), Sort: fmt.Sprint(n)}}
		if n%2 == 0 {
			i.Expires = now.Add(time.Minute)
		}
		batch = append(batch, i)
	}
	batch = append(batch, kv.Item{Key: kv.Key{Partition: "u", Sort: "k"}, Expires: now.Add(time.Minute)})
	if err := s.BatchPut(ctx, batch); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{0, 1250, 0} {
		if n, err := s.DropExpired(ctx, "t/"); n != want || err != nil {
			t.Errorf("DropExpired = %d, %v, want %d", n, err, want)
		}
		now = now.Add(time.Hour)
	}
	left := 0
	it, err := s.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		left++
	}
	if err := it.Close(); err != nil || left != 1250+1+1 { // u, and the schema
		t.Errorf("%d keys are left, %v", left, err)
	}
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte("\x01\x01v12345678value"))
	f.Add(encodeRecord(item(1, "v")))
	f.Fuzz(func(t *testing.T, stored []byte) {
		r, err := decodeRecord(stored)
		if err != nil {
			return
		}
		i := r.item(kv.Key{}, true)
		again, err := decodeRecord(encodeRecord(i))
		if err != nil || string(again.value) != string(i.Value) || string(again.version) != string(i.Version) || again.expires != i.Expires.Unix() && r.expiring {
			t.Fatalf("%x is %+v, then %+v, %v", stored, r, again, err)
		}
	})
}
