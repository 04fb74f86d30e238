package task_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"granary/cluster/task"
)

func TestCancelFromAnyNode(t *testing.T) {
	inBubble(t, func(w *world) {
		w.kind.steps = 1000
		a, b, c := w.join(), w.join(), w.join()
		begun := w.start(a)
		time.Sleep(10500 * time.Millisecond) // between looks, so that a and b don't know at once
		if err := c.Delete(t.Context(), begun.ID, "bob"); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Start(t.Context(), "count", nil, ""); !errors.Is(err, task.ErrRunning) {
			t.Errorf("Start before all have stopped = %v", err)
		}
		cancelled := time.Now()
		got := w.over(b, begun.ID)
		if got.Status != task.Cancelled || w.kind.aborts != 1 || !strings.HasPrefix(got.Summary, "stopped after") {
			t.Errorf("task = %+v, %d aborts", got, w.kind.aborts)
		}
		if d := time.Since(cancelled); d > 10*time.Second {
			t.Errorf("cancelled after %v", d)
		}
		if !strings.Contains(fmt.Sprint(got.Log), "cancel requested by bob") {
			t.Errorf("log %v", got.Log)
		}
		before := w.kind.begun()
		time.Sleep(time.Minute)
		if w.kind.begun() != before {
			t.Error("shards are begun after the end")
		}
		if err := a.Cancel(t.Context(), begun.ID, ""); err != nil {
			t.Errorf("Cancel of what is over = %v", err)
		}
		if err := a.Delete(t.Context(), begun.ID, ""); err != nil {
			t.Errorf("Delete of what is over = %v", err)
		}
		if _, err := b.Get(t.Context(), begun.ID); !errors.Is(err, task.ErrNotFound) {
			t.Errorf("Get of what was deleted = %v", err)
		}
		w.kind.steps = 1
		w.over(a, w.start(a).ID)
	})
}

// A cancelled task whose only holder is dead ends too.
func TestCancelOfWhatADeadNodeHolds(t *testing.T) {
	inBubble(t, func(w *world) {
		w.kind.steps = 1000
		a, b := w.join(), w.join()
		begun := w.start(a)
		time.Sleep(10 * time.Second)
		a.kill()
		if err := b.Cancel(t.Context(), begun.ID, ""); err != nil {
			t.Fatal(err)
		}
		if got := w.over(b, begun.ID); got.Status != task.Cancelled {
			t.Errorf("task = %+v", got)
		}
	})
}
