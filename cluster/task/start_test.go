package task_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"granary/cluster/task"
	"granary/kv"
)

// overtaken loses the answer to the first write of a task; by the time that it
// is sent again a worker is at the task, so that it conflicts.
type overtaken struct {
	kv.Store
	done bool
}

func (s *overtaken) PutIf(ctx context.Context, item kv.Item, old kv.Version) error {
	if err := s.Store.PutIf(ctx, item, old); err != nil || s.done || old != "" || !strings.HasPrefix(item.Partition, kv.OpenTasks) {
		return err
	}
	s.done = true
	next := item
	next.Version = kv.NewVersion()
	if err := s.Store.PutIf(ctx, next, item.Version); err != nil {
		return err
	}
	return fmt.Errorf("send it again: %w", kv.ErrConflict)
}

// A task that was started is no other one that is in the way.
func TestStartOvertaken(t *testing.T) {
	inBubble(t, func(w *world) {
		a, b := w.join(), w.join()
		s := &overtaken{Store: w.store}
		a.line.set(func() { a.line.inner = s })
		begun := w.start(a)
		if !s.done {
			t.Fatal("nothing was overtaken")
		}
		if got := w.over(b, begun.ID); got.Status != task.Completed {
			t.Errorf("task = %+v", got)
		}
		time.Sleep(time.Second)
		w.kind.wantEach(t, 8)
	})
}
