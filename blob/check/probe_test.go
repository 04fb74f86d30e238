package check_test

import (
	"context"
	"errors"
	"testing"

	"granary/blob"
	"granary/blob/check"
	"granary/blob/mem"
)

func TestProbe(t *testing.T) {
	if err := check.Probe(t.Context(), mem.New(mem.Config{Report: t.Errorf})); err != nil {
		t.Errorf("a store that works: %v", err)
	}
	broken := errors.New("broken")
	for _, call := range []mem.Call{mem.Create, mem.Write, mem.Commit, mem.Open, mem.Read, mem.List, mem.Delete} {
		s := mem.New(mem.Config{Before: func(_ context.Context, c mem.Call, _ blob.ID) error {
			if c == call {
				return broken
			}
			return nil
		}})
		if err := check.Probe(t.Context(), s); !errors.Is(err, broken) {
			t.Errorf("a store that can't %s: %v", call, err)
		}
	}
}
