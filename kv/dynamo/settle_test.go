package dynamo_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"granary/kv"
	"granary/kv/dynamo"
)

var (
	key  = kv.Key{Partition: "p", Sort: "s"}
	item = kv.Item{Key: key, Value: []byte("v"), Version: "new"}
)

func throttle(w http.ResponseWriter, body string) {
	fail(400, "ProvisionedThroughputExceededException")(w, body)
}

func fault(w http.ResponseWriter, body string) { fail(500, "InternalServerError")(w, body) }

// TestPutIfIsSettled: whatever hides the outcome of a conditional write, the
// very same write is sent until the service says what became of it, longer than
// other requests are.
func TestPutIfIsSettled(t *testing.T) {
	s, c := serve(t, dynamo.Config{MaxRetries: 1}, drop, fault, half, throttle, drop, ok)
	if err := s.PutIf(t.Context(), item, "old"); err != nil {
		t.Error(err)
	}
	c.wantSame(6)
	if got := c.sent(); len(got) != 6 {
		t.Errorf("sent %v", got)
	}
	got := s.Stats()
	got.Requests -= 1 // that of Open
	if want := (dynamo.Stats{Requests: 6, Retries: 5, Throttles: 1, Unsettled: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestPutIfConflictsAfterAnUnknownOutcome(t *testing.T) {
	s, c := serve(t, dynamo.Config{}, drop, conflicting(stored("p", "s", "theirs")))
	err := s.PutIf(t.Context(), item, "old")
	var conflict *kv.ConflictError
	if !errors.As(err, &conflict) || conflict.Current == nil || conflict.Current.Version != "theirs" {
		t.Errorf("%v, want a conflict with version theirs", err)
	}
	c.wantSame(2)
}

// TestUnknownOnlyWhenTheContextEnds: nothing but the end of the context leaves
// a conditional write unsettled.
func TestUnknownOnlyWhenTheContextEnds(t *testing.T) {
	for name, write := range map[string]func(context.Context, *dynamo.Store) error{
		"PutIf":    func(ctx context.Context, s *dynamo.Store) error { return s.PutIf(ctx, item, "") },
		"DeleteIf": func(ctx context.Context, s *dynamo.Store) error { return s.DeleteIf(ctx, key, "old") },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s, _ := serve(t, dynamo.Config{MaxRetries: -1}, drop, drop, func(w http.ResponseWriter, body string) { cancel(); drop(w, body) })
			err := write(ctx, s)
			if !errors.Is(err, kv.ErrUnknown) || !errors.Is(err, context.Canceled) {
				t.Errorf("%v, want ErrUnknown and the end of the context", err)
			}
			if n := s.Stats().Retries; n < 2 {
				t.Errorf("%d repetitions, although none are allowed but to settle", n)
			}
		})
	}
}

func TestCancelWhileTheAnswerIsAwaited(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s, _ := serve(t, dynamo.Config{}, func(w http.ResponseWriter, body string) { cancel(); drop(w, body) })
	if err := s.PutIf(ctx, item, ""); !errors.Is(err, kv.ErrUnknown) || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want ErrUnknown and the end of the context", err)
	}
}

// TestUnknownThenRefused: a refusal of the repetition says nothing of the
// first sending.
func TestUnknownThenRefused(t *testing.T) {
	s, _ := serve(t, dynamo.Config{}, drop, fail(400, "AccessDeniedException"))
	if err := s.PutIf(t.Context(), item, ""); !errors.Is(err, kv.ErrUnknown) {
		t.Errorf("%v, want ErrUnknown", err)
	}
}

// TestRefusalCutOff: a refusal whose reason got lost wrote nothing, so that the
// answer to the repetition is that to the write.
func TestRefusalCutOff(t *testing.T) {
	for name, write := range map[string]func(*dynamo.Store) error{
		"PutIf":    func(s *dynamo.Store) error { return s.PutIf(t.Context(), item, "old") },
		"DeleteIf": func(s *dynamo.Store) error { return s.DeleteIf(t.Context(), key, "old") },
	} {
		t.Run(name, func(t *testing.T) {
			s, c := serve(t, dynamo.Config{}, cutOff, conflicting(nil))
			if err := write(s); !errors.Is(err, kv.ErrConflict) {
				t.Errorf("%v, want a conflict", err)
			}
			c.wantSame(2)
			if got := s.Stats(); got.Unsettled != 0 || got.Retries != 1 {
				t.Errorf("%+v, want one repetition and nothing to settle", got)
			}
		})
	}
}

func TestTimeoutIsAnUnknownOutcome(t *testing.T) {
	again := make(chan struct{})
	s, c := serve(t, dynamo.Config{ConnectTimeout: 500 * time.Millisecond, ReadTimeout: 1500 * time.Millisecond},
		func(http.ResponseWriter, string) { <-again }, // silent until the client has lost patience
		func(w http.ResponseWriter, body string) { close(again); ok(w, body) })
	if err := s.PutIf(t.Context(), item, ""); err != nil {
		t.Error(err)
	}
	c.wantSame(2)
	if n := s.Stats().Unsettled; n != 1 {
		t.Errorf("%d unsettled, want 1", n)
	}
}

func TestDeleteIfIsSettled(t *testing.T) {
	missing, found := ok, reply(map[string]any{"Item": stored("p", "s", "theirs")})
	for _, test := range []struct {
		name     string
		steps    []step
		conflict kv.Version // found, "" for success
	}{
		{"lost answer, then done", []step{drop, ok}, ""},
		{"lost answer, then missing", []step{drop, conflicting(nil), missing}, ""},
		{"lost answer, then another's", []step{drop, conflicting(stored("p", "s", "theirs"))}, "theirs"},
		{"lost answer, then one that must be read", []step{fault, conflicting(nil), found}, "theirs"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, c := serve(t, dynamo.Config{}, test.steps...)
			err := s.DeleteIf(t.Context(), key, "old")
			var conflict *kv.ConflictError
			switch {
			case test.conflict == "" && err != nil:
				t.Error(err)
			case test.conflict != "" && (!errors.As(err, &conflict) || conflict.Current == nil || conflict.Current.Version != test.conflict):
				t.Errorf("%v, want a conflict with version %s", err, test.conflict)
			}
			c.wantSame(2)
			c.sent()
		})
	}
	t.Run("missing at once", func(t *testing.T) {
		s, c := serve(t, dynamo.Config{}, conflicting(nil))
		if err := s.DeleteIf(t.Context(), key, "old"); !errors.Is(err, kv.ErrConflict) {
			t.Errorf("%v, want a conflict", err)
		}
		c.sent()
	})
	t.Run("the read that decides fails", func(t *testing.T) {
		s, _ := serve(t, dynamo.Config{}, drop, conflicting(nil), fail(400, "AccessDeniedException"))
		if err := s.DeleteIf(t.Context(), key, "old"); !errors.Is(err, kv.ErrUnknown) {
			t.Errorf("%v, want ErrUnknown", err)
		}
	})
}

// TestAbsentIsLearnt: once the service has sent an old item, a failed condition
// without one means that there is none.
func TestAbsentIsLearnt(t *testing.T) {
	expired := stored("p", "s", "old")
	expired["x"] = map[string]string{"N": "1"}
	s, c := serve(t, dynamo.Config{}, conflicting(nil), conflicting(stored("p", "s", "theirs")), conflicting(nil), conflicting(expired), conflicting(nil))
	put := func(old kv.Version) *kv.ConflictError {
		t.Helper()
		var conflict *kv.ConflictError
		if err := s.PutIf(t.Context(), item, old); !errors.As(err, &conflict) {
			t.Fatalf("%v, want a conflict", err)
		}
		return conflict
	}
	theirs := kv.Item{Key: key, Version: "theirs"}
	for i, want := range []*kv.ConflictError{
		{Key: key},
		{Key: key, Current: &theirs},
		{Key: key, Absent: true},
		{Key: key, Absent: true}, // expired
	} {
		if d := cmp.Diff(want, put("old")); d != "" {
			t.Errorf("conflict %d (-want +got):\n%s", i, d)
		}
	}
	if got := put(""); got.Absent {
		t.Errorf("%+v: nothing was expected", got)
	}
	c.sent()
}

// TestGivenUp: what need not be settled is sent a bounded number of times.
func TestGivenUp(t *testing.T) {
	put := func(ctx context.Context, s *dynamo.Store) error { return s.Put(ctx, item) }
	putIf := func(ctx context.Context, s *dynamo.Store) error { return s.PutIf(ctx, item, "") }
	get := func(ctx context.Context, s *dynamo.Store) error { _, err := s.Get(ctx, key); return err }
	query := func(ctx context.Context, s *dynamo.Store) error {
		for _, err := range s.Query(ctx, "p", "", "") {
			if err != nil {
				return err
			}
		}
		return nil
	}
	batch := func(ctx context.Context, s *dynamo.Store) error { return s.BatchPut(ctx, []kv.Item{item}) }
	left := stored("p", "s", "new")
	left["v"] = map[string][]byte{"B": []byte("v")}
	undone := reply(map[string]any{"UnprocessedItems": map[string]any{"t": []any{
		map[string]any{"PutRequest": map[string]any{"Item": left}},
	}}})
	for _, test := range []struct {
		name string
		call func(context.Context, *dynamo.Store) error
		step step
		want error
		not  error
	}{
		{"throttled read", get, throttle, kv.ErrThrottled, kv.ErrUnknown},
		{"throttled query", query, throttle, kv.ErrThrottled, kv.ErrUnknown},
		{"throttled write", put, throttle, kv.ErrThrottled, kv.ErrUnknown},
		{"throttled conditional write", putIf, throttle, kv.ErrThrottled, kv.ErrUnknown},
		{"throttled batch", batch, throttle, kv.ErrThrottled, kv.ErrUnknown},
		{"unprocessed items", batch, undone, kv.ErrThrottled, kv.ErrUnknown},
		{"faulty read", get, fault, kv.ErrThrottled, kv.ErrUnknown},
		{"faulty write", put, fault, kv.ErrUnknown, kv.ErrThrottled},
		{"lost write", put, drop, kv.ErrUnknown, kv.ErrThrottled},
		{"lost batch", batch, drop, kv.ErrUnknown, kv.ErrThrottled},
		{"lost read", get, drop, nil, kv.ErrUnknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, c := serve(t, dynamo.Config{MaxRetries: 2}, test.step, test.step, test.step)
			err := test.call(t.Context(), s)
			if err == nil || test.want != nil && !errors.Is(err, test.want) || errors.Is(err, test.not) {
				t.Errorf("%v, want %v and not %v", err, test.want, test.not)
			}
			c.wantSame(3)
			c.sent()
		})
	}
}

func TestRefusedAtOnce(t *testing.T) {
	s, c := serve(t, dynamo.Config{}, fail(400, "ValidationException"))
	err := s.PutIf(t.Context(), item, "")
	if err == nil || errors.Is(err, kv.ErrThrottled) || errors.Is(err, kv.ErrUnknown) || errors.Is(err, kv.ErrConflict) {
		t.Errorf("%v, want another error", err)
	}
	c.sent()
}

// TestNoConnection: what never left is not unknown.
func TestNoConnection(t *testing.T) {
	_, err := dynamo.Open(t.Context(), dynamo.Config{Table: "t", Endpoint: "http://127.0.0.1:1", MaxRetries: 1})
	if !errors.As(err, new(*net.OpError)) || errors.Is(err, kv.ErrUnknown) || errors.Is(err, kv.ErrThrottled) {
		t.Errorf("%v, want the refused connection", err)
	}
}
