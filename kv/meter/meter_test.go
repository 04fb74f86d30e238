package meter_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"granary/kv"
	"granary/kv/kvtest"
	"granary/kv/mem"
	"granary/kv/meter"
)

// heard counts what it is told.
type heard struct {
	mu       sync.Mutex
	inFlight int
	calls    map[string]int
}

func (h *heard) Begin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.inFlight++
}

func (h *heard) End(op, result int, took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.inFlight--
	if took < 0 {
		h.calls["negative"]++
	}
	h.calls[meter.Ops[op]+" "+meter.Results[result]]++
}

func (h *heard) wants(t *testing.T, want ...string) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	var got []string
	for call, n := range h.calls {
		got = append(got, fmt.Sprintf("%s %d", call, n))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || h.inFlight != 0 {
		t.Errorf("%q, %d in flight; want %q", got, h.inFlight, want)
	}
	clear(h.calls)
}

func TestConformance(t *testing.T) {
	var skipped atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(skipped.Load())) }
	kvtest.Test(t, func(*testing.T) kv.Store {
		return meter.New(mem.New(mem.Options{Now: now}), &heard{calls: map[string]int{}})
	}, kvtest.Clock(now, func(d time.Duration) { skipped.Add(int64(d)) }))
}

func TestCallsAreTold(t *testing.T) {
	ctx, h := t.Context(), &heard{calls: map[string]int{}}
	s := meter.New(mem.New(mem.Options{}), h)
	k := kv.Key{Partition: "z", Sort: "k"}
	item := kv.Item{Key: k, Version: kv.NewVersion()}
	if _, err := s.Get(ctx, k); !errors.Is(err, kv.ErrNotFound) {
		t.Fatal(err)
	}
	if err := s.PutIf(ctx, item, ""); err != nil {
		t.Fatal(err)
	}
	if err := s.PutIfLazy(ctx, kv.Item{Key: k, Version: kv.NewVersion()}, ""); !errors.Is(err, kv.ErrConflict) {
		t.Fatal(err)
	}
	if err := s.PutIf(ctx, kv.Item{Key: k, Version: kv.NewVersion(), Value: make([]byte, kv.MaxValue+1)}, ""); !errors.Is(err, kv.ErrTooLarge) {
		t.Fatal(err)
	}
	h.wants(t, "get not_found 1", "put_if success 1", "put_if_lazy conflict 1", "put_if error 1")

	for range s.Query(ctx, "z", "", "") {
		break // who stops early has ended the call
	}
	for range s.Query(ctx, "nothing", "", "") {
		t.Error("an item of nothing")
	}
	if err := s.DeleteIf(ctx, k, item.Version); err != nil {
		t.Fatal(err)
	}
	blind := kv.Item{Key: kv.Key{Partition: "t/x/0", Sort: "k"}}
	if err := errors.Join(s.Put(ctx, blind), s.BatchPut(ctx, []kv.Item{blind}), s.Delete(ctx, blind.Key)); err != nil {
		t.Fatal(err)
	}
	h.wants(t, "query success 2", "delete_if success 1", "put success 1", "batch_put success 1", "delete success 1")
}

// traced is an observer that traces calls whose context says so.
type traced struct {
	heard
	traces []string
}

type wanted struct{}

func (h *traced) Trace(ctx context.Context, op int) func(result int) {
	if ctx.Value(wanted{}) == nil {
		return nil
	}
	return func(result int) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.traces = append(h.traces, meter.Ops[op]+" "+meter.Results[result])
	}
}

func TestTracer(t *testing.T) {
	h := &traced{heard: heard{calls: map[string]int{}}}
	s := meter.New(mem.New(mem.Options{}), h)
	ctx := context.WithValue(t.Context(), wanted{}, true)
	k := kv.Key{Partition: "z", Sort: "k"}
	item := kv.Item{Key: k, Version: kv.NewVersion()}
	blind := kv.Item{Key: kv.Key{Partition: "t/x/0", Sort: "k"}}
	if _, err := s.Get(t.Context(), k); !errors.Is(err, kv.ErrNotFound) {
		t.Fatal(err)
	}
	if _, err := s.Get(ctx, k); !errors.Is(err, kv.ErrNotFound) {
		t.Fatal(err)
	}
	if err := errors.Join(s.PutIfLazy(ctx, item, ""), s.Put(ctx, blind), s.BatchPut(ctx, []kv.Item{blind}), s.Delete(ctx, blind.Key)); err != nil {
		t.Fatal(err)
	}
	if err := s.PutIf(ctx, kv.Item{Key: k, Version: kv.NewVersion()}, ""); !errors.Is(err, kv.ErrConflict) {
		t.Fatal(err)
	}
	for range s.Query(ctx, "z", "", "") {
		if n := len(h.traces); n != 6 {
			t.Errorf("%d calls have ended while the query's items are taken", n)
		}
	}
	if err := s.DeleteIf(ctx, k, item.Version); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"get not_found", "put_if_lazy success", "put success", "batch_put success", "delete success", "put_if conflict", "query success", "delete_if success",
	}
	if !slices.Equal(h.traces, want) {
		t.Errorf("traced %q, want %q", h.traces, want)
	}
	h.wants(t, "get not_found 2", "put_if_lazy success 1", "put success 1", "batch_put success 1", "delete success 1", "put_if conflict 1", "query success 1", "delete_if success 1")
}

// A consumer that takes its time is not the store's.
func TestQueryTimeIsTheStores(t *testing.T) {
	took := make(chan time.Duration, 1)
	s := meter.New(mem.New(mem.Options{}), told(took))
	if err := s.PutIf(t.Context(), kv.Item{Key: kv.Key{Partition: "z", Sort: "k"}, Version: kv.NewVersion()}, ""); err != nil {
		t.Fatal(err)
	}
	<-took
	began := time.Now()
	for range s.Query(t.Context(), "z", "", "") {
		time.Sleep(50 * time.Millisecond)
	}
	if d, whole := <-took, time.Since(began); d > whole-50*time.Millisecond {
		t.Errorf("a query of %v is said to have taken %v", whole, d)
	}
}

type told chan time.Duration

func (told) Begin()                             {}
func (c told) End(_, _ int, took time.Duration) { c <- took }
