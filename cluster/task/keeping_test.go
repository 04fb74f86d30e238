package task_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"granary/cluster/task"
)

func TestRetention(t *testing.T) {
	inBubble(t, func(w *world) {
		keep := func(c *task.Config) { c.Retention = func() time.Duration { return time.Hour } }
		a, b := w.join(keep), w.join(keep)
		first := w.start(a)
		w.over(a, first.ID)
		time.Sleep(59 * time.Minute)
		if _, err := b.Get(t.Context(), first.ID); err != nil {
			t.Errorf("removed too early: %v", err)
		}
		time.Sleep(3 * time.Minute)
		if _, err := b.Get(t.Context(), first.ID); !errors.Is(err, task.ErrNotFound) {
			t.Errorf("Get after an hour = %v", err)
		}
		if last, err := b.LastStarted(t.Context(), "count"); err != nil || !last.Equal(first.Created) {
			t.Errorf("LastStarted = %v, %v; want %v", last, err, first.Created)
		}
	})
}

// Of several nodes one starts what is due, and nothing is started twice.
func TestSchedule(t *testing.T) {
	inBubble(t, func(w *world) {
		w.kind.steps = 1
		every := task.Every(func() time.Duration { return time.Hour }, time.Now)
		periodic := func(c *task.Config) { c.Schedule = []task.Periodic{{Kind: "count", Due: every}} }
		a := w.join(periodic)
		w.join(periodic)
		w.join(periodic)
		time.Sleep(3*time.Hour + 30*time.Minute)
		list, err := a.List(t.Context())
		if err != nil || len(list) != 4 {
			t.Errorf("%d tasks in three hours, %v; want 4", len(list), err)
		}
		for _, tk := range list {
			if tk.By != "" || tk.Status != task.Completed {
				t.Errorf("task = %+v", tk)
			}
		}
	})
}

// slotted runs once for each thing.
type slotted struct{ *kind }

var _ task.Slotter = slotted{}

func (slotted) Slot(params json.RawMessage) (string, error) { return string(params), nil }

func TestSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.join(func(c *task.Config) { c.Kinds = []task.Kind{slotted{w.kind}} })
		if _, err := a.Start(t.Context(), "count", 1, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Start(t.Context(), "count", 2, ""); err != nil {
			t.Errorf("Start for another thing = %v", err)
		}
		if _, err := a.Start(t.Context(), "count", 1, ""); !errors.Is(err, task.ErrRunning) {
			t.Errorf("Start for the same = %v", err)
		}
		w.end(a)
	})
}

// A log keeps its beginning and its end.
func TestLogIsBounded(t *testing.T) {
	inBubble(t, func(w *world) {
		w.kind.plan = func(context.Context) ([]string, error) { return []string{"only"}, nil }
		w.kind.steps = 1
		w.kind.step = func(ctx context.Context, wk *task.Work, _ int) error {
			for i := range 500 {
				if err := wk.Log(ctx, fmt.Sprintf("line %d %s", i, strings.Repeat("ä", 1000))); err != nil {
					return err
				}
			}
			return nil
		}
		a := w.join()
		got := w.over(a, w.start(a).ID)
		if n := len(got.Log); n != 200 || got.Log[0].Message != "created" {
			t.Errorf("%d lines, the first %q", n, got.Log[0].Message)
		}
		if m := got.Log[len(got.Log)-2].Message; !strings.HasPrefix(m, "line 499") || len(m) > 510 {
			t.Errorf("last line %q", m)
		}
	})
}

// What a node does is counted: shards that end, that fail, that are taken over
// from the dead, and tasks that are over, each once in the cluster.
func TestObserver(t *testing.T) {
	inBubble(t, func(w *world) {
		seen := []*watcher{{}, {}}
		watch := func(i int) func(*task.Config) {
			return func(c *task.Config) { c.Observer, c.Workers = seen[i], 1 }
		}
		w.kind.steps = 5
		w.kind.plan = func(context.Context) ([]string, error) { return names(6), nil }
		var failed atomic.Bool
		w.kind.step = func(ctx context.Context, wk *task.Work, i int) error {
			if i == 2 && failed.CompareAndSwap(false, true) {
				return errors.New("once")
			}
			return wait(ctx, time.Second)
		}
		a := w.join(watch(0))
		begun := w.start(a)
		// Between two steps: at the very second at which one ends, either may be first.
		time.Sleep(10500 * time.Millisecond)
		b := w.join(watch(1))
		a.kill()
		if got := w.over(b, begun.ID); got.Status != task.Completed {
			t.Errorf("task = %+v", got)
		}
		synctest.Wait() // it is over before the observer is told
		kind := " " + w.kind.Name()
		sum := func(what string) int { return seen[0].times(what+kind) + seen[1].times(what+kind) }
		// The one that failed once, and the one that could not be saved any more.
		if sum("completed") != 1 || seen[1].times("completed"+kind) != 1 || sum("failed") != 2 {
			t.Errorf("of ends %v and %v were told", seen[0].told, seen[1].told)
		}
		if seen[1].times("overtook"+kind) != 1 || seen[0].times("overtook"+kind) != 0 {
			t.Errorf("of take-overs %v and %v were told", seen[0].told, seen[1].told)
		}
		if done := sum("done"); done != 6 {
			t.Errorf("%d shards are told to be done", done)
		}
		w.end(a)
		w.nodes = w.nodes[1:]
		if began, ended := seen[0].times("began"+kind), seen[0].times("done"+kind)+seen[0].times("failed"+kind)+seen[0].times("left"+kind)+seen[0].times("later"+kind); began != ended {
			t.Errorf("%d shards were begun by the dead node and %d ended: %v", began, ended, seen[0].told)
		}
	})
}
