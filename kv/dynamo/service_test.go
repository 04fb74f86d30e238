package dynamo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"granary/kv"
	"granary/kv/dynamo"
)

// TestPages: a query of more than a page of 1 MB yields all of it once, in
// either order, and of less where a limit says so.
func TestPages(t *testing.T) {
	const n, size = 24, 120 << 10
	onServices(t, func(t *testing.T, endpoint string) {
		s := open(t, config(endpoint))
		var items []kv.Item
		for i := range n {
			items = append(items, kv.Item{Key: kv.Key{Partition: "a", Sort: fmt.Sprintf("%02d", i)}, Value: bytes.Repeat([]byte{byte(i)}, size)})
		}
		if err := s.BatchPut(t.Context(), items); err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct {
			name  string
			opts  []kv.ReadOption
			want  int
			pages uint64 // at least
		}{
			{"all", nil, n, 3},
			{"reverse", []kv.ReadOption{kv.Reverse}, n, 3},
			{"limit over a page", []kv.ReadOption{kv.Limit(15)}, 15, 2},
			{"limit", []kv.ReadOption{kv.Limit(1)}, 1, 1},
			{"keys", []kv.ReadOption{kv.KeysOnly, kv.Consistent}, n, 1},
		} {
			before, r := s.Stats().Requests, kv.Resolve(test.opts)
			got := 0
			for item, err := range s.Query(t.Context(), "a", "", "", test.opts...) {
				if err != nil {
					t.Fatalf("%s: %v", test.name, err)
				}
				i := got
				if r.Reverse {
					i = n - 1 - got
				}
				if item.Sort != items[i].Sort || item.Version == "" {
					t.Errorf("%s: item %d is %v, want %v", test.name, got, item.Key, items[i].Key)
				}
				if r.KeysOnly && item.Value != nil || !r.KeysOnly && !bytes.Equal(item.Value, items[i].Value) {
					t.Errorf("%s: value of %v has %d bytes", test.name, item.Key, len(item.Value))
				}
				got++
			}
			if pages := s.Stats().Requests - before; got != test.want || pages < test.pages {
				t.Errorf("%s: %d items in %d pages, want %d in %d or more", test.name, got, pages, test.want, test.pages)
			}
		}
		before := s.Stats().Requests
		for range s.Query(t.Context(), "a", "", "") {
			break
		}
		if pages := s.Stats().Requests - before; pages != 1 {
			t.Errorf("a query that was left at the first item asked for %d pages", pages)
		}
	})
}

// TestAbsent: what a service tells of a missing item, and that the rest costs
// one read.
func TestAbsent(t *testing.T) {
	onServices(t, func(t *testing.T, endpoint string) {
		s := open(t, config(endpoint))
		if err := s.PutIf(t.Context(), item, ""); err != nil {
			t.Fatal(err)
		}
		other := kv.Item{Key: key, Value: []byte("other"), Version: "other"}
		current, err := kv.Current(t.Context(), s, key, s.PutIf(t.Context(), other, ""))
		if err != nil || current.Version != "new" || string(current.Value) != "v" {
			t.Errorf("Current after a conflict: %+v, %v", current, err)
		}
		if err := s.DeleteIf(t.Context(), key, "new"); err != nil {
			t.Fatal(err)
		}
		err = s.PutIf(t.Context(), other, "new")
		var conflict *kv.ConflictError
		if !errors.As(err, &conflict) {
			t.Fatalf("PutIf on a missing item: %v", err)
		}
		t.Logf("absence is known without a read: %v", conflict.Absent)
		if _, err := kv.Current(t.Context(), s, key, err); !errors.Is(err, kv.ErrNotFound) {
			t.Errorf("Current of a missing item: %v", err)
		}
	})
}

func TestCapacityIsCounted(t *testing.T) {
	onServices(t, func(t *testing.T, endpoint string) {
		var mu sync.Mutex
		seen := map[string]dynamo.Event{}
		cfg := config(endpoint)
		cfg.Observe = func(_ context.Context, e dynamo.Event) {
			mu.Lock()
			defer mu.Unlock()
			seen[e.Operation] = e
		}
		s := open(t, cfg)
		big := kv.Item{Key: key, Value: make([]byte, 10<<10), Version: "new"}
		if err := s.PutIf(t.Context(), big, ""); err != nil {
			t.Fatal(err)
		}
		if err := s.PutIf(t.Context(), kv.Item{Key: key, Version: "other"}, ""); !errors.Is(err, kv.ErrConflict) {
			t.Fatal(err)
		}
		if _, err := s.Get(t.Context(), key, kv.Consistent); err != nil {
			t.Fatal(err)
		}
		got := s.Stats()
		if got.WriteUnits != 11 || got.ReadUnits != 3 || got.Retries != 0 || got.Requests != 4 {
			t.Errorf("%+v, want 11 units for a write of 10 KiB and 3 for a consistent read of it, in 4 requests", got)
		}
		if e := seen["GetItem"]; e.ReadUnits != 3 || e.Elapsed <= 0 || e.Outcome != "ok" {
			t.Errorf("observed %+v", e)
		}
		if e := seen["PutItem"]; e.Outcome != "conflict" {
			t.Errorf("observed %+v", e)
		}
	})
}

// TestBatchRepeatsWhatIsLeft: batches are of 25, and what a service left undone
// is sent again, it alone.
func TestBatchRepeatsWhatIsLeft(t *testing.T) {
	left := reply(map[string]any{"UnprocessedItems": map[string]any{"t": []any{
		map[string]any{"PutRequest": map[string]any{"Item": stored("p", "03", "v3")}},
		map[string]any{"PutRequest": map[string]any{"Item": stored("p", "07", "v7")}},
	}}})
	s, c := serve(t, dynamo.Config{}, left, ok, ok, throttle, ok)
	var items []kv.Item
	for i := range 55 {
		items = append(items, kv.Item{Key: kv.Key{Partition: "p", Sort: fmt.Sprintf("%02d", i)}, Version: kv.Version(fmt.Sprintf("v%d", i))})
	}
	items = append(items, kv.Item{Key: items[0].Key, Version: "last"})
	if err := s.BatchPut(t.Context(), items); err != nil {
		t.Fatal(err)
	}
	c.sent()
	for i, want := range []int{25, 2, 25, 5, 5} {
		if got := bytes.Count([]byte(c.requests[i]), []byte("PutRequest")); got != want {
			t.Errorf("request %d has %d items, want %d", i, got, want)
		}
	}
	if bytes.Contains([]byte(c.requests[0]), []byte(`"v0"`)) || !bytes.Contains([]byte(c.requests[3]), []byte(`"last"`)) {
		t.Error("of two items with one key not the last was written")
	}
	if got := s.Stats(); got.Throttles != 2 || got.Retries != 2 {
		t.Errorf("%+v, want 2 throttles and 2 retries", got)
	}
}

func TestForeignItem(t *testing.T) {
	for name, change := range map[string]func(map[string]any){
		"no version":    func(i map[string]any) { delete(i, "n") },
		"text value":    func(i map[string]any) { i["v"] = map[string]string{"S": "text"} },
		"text expiry":   func(i map[string]any) { i["x"] = map[string]string{"S": "now"} },
		"broken expiry": func(i map[string]any) { i["x"] = map[string]string{"N": "1.5"} },
	} {
		i := stored("p", "s", "n")
		change(i)
		s, _ := serve(t, dynamo.Config{}, reply(map[string]any{"Item": i}), reply(map[string]any{"Items": []any{i}}), conflicting(i))
		if _, err := s.Get(t.Context(), key); err == nil || errors.Is(err, kv.ErrNotFound) {
			t.Errorf("%s: Get: %v", name, err)
		}
		for _, err := range s.Query(t.Context(), "p", "", "") {
			if err == nil {
				t.Errorf("%s: Query yields it", name)
			}
		}
		if err := s.PutIf(t.Context(), item, "old"); err == nil || errors.Is(err, kv.ErrConflict) {
			t.Errorf("%s: PutIf: %v", name, err)
		}
	}
}
