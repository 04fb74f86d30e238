package task_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"granary/cluster/task"
	"granary/integration/leak"
	"granary/kv"
)

func TestMain(m *testing.M) { leak.Verify(m) }

func TestNodesShareATask(t *testing.T) {
	inBubble(t, func(w *world) {
		a, b, c := w.join(), w.join(), w.join()
		begun := w.start(a)
		if begun.Status != task.Pending || begun.By != "ann" || string(begun.Params) != `{"n":1}` {
			t.Errorf("started: %+v", begun)
		}
		time.Sleep(2500 * time.Millisecond)
		during, err := c.Get(t.Context(), begun.ID)
		if err != nil || during.Status != task.Running || during.Shards != 8 || during.Progress.CheckedBlobs == 0 || during.Started.IsZero() {
			t.Errorf("Get = %+v, %v; want it running with progress", during, err)
		}
		held, err := b.Held(t.Context())
		if err != nil || len(held) != 3 {
			t.Errorf("Held = %v, %v; want shards with each of three nodes", held, err)
		}
		got := w.over(b, begun.ID)
		if got.Status != task.Completed || got.Summary != "24 steps" || string(got.Result) != `{"steps":24}` || got.Error != "" {
			t.Errorf("task = %+v", got)
		}
		if got.Progress.CheckedBlobs != 24 || got.Closed != 8 || got.Completed.IsZero() {
			t.Errorf("progress %+v, %d closed, completed %v", got.Progress, got.Closed, got.Completed)
		}
		if first, last := got.Log[0].Message, got.Log[len(got.Log)-1].Message; first != "created" || last != "completed: 24 steps" {
			t.Errorf("log %q … %q", first, last)
		}
		w.kind.wantEach(t, 8)
		// Alone, two at a time, it would take 12 s.
		if d := got.Completed.Sub(begun.Created); d > 10*time.Second {
			t.Errorf("three nodes took %v", d)
		}
		time.Sleep(time.Second)
		if n, m := w.count(kv.OpenTasks), w.count(kv.TaskShards(begun.ID)); n != 0 || m != 0 {
			t.Errorf("%d open tasks and %d shards are left", n, m)
		}
		list, err := c.List(t.Context())
		if err != nil || len(list) != 1 || list[0].ID != begun.ID {
			t.Errorf("List = %+v, %v", list, err)
		}
		if _, err := a.Get(t.Context(), "nothing"); !errors.Is(err, task.ErrNotFound) {
			t.Errorf("Get of nothing = %v", err)
		}
		if _, err := a.Start(t.Context(), "nothing", nil, ""); !errors.Is(err, task.ErrUnknownKind) {
			t.Errorf("Start of nothing = %v", err)
		}
	})
}

func TestOneOfAKind(t *testing.T) {
	inBubble(t, func(w *world) {
		nodes := []*node{w.join(), w.join(), w.join(), w.join()}
		for range 5 {
			var started atomic.Int32
			var id atomic.Value
			var group sync.WaitGroup
			for _, n := range nodes {
				group.Go(func() {
					tk, err := n.Start(t.Context(), "count", nil, "")
					var running *task.RunningError
					switch {
					case err == nil:
						started.Add(1)
						id.Store(tk.ID)
					case !errors.As(err, &running) || !errors.Is(err, task.ErrRunning) || running.ID == "":
						t.Errorf("Start = %v", err)
					}
				})
			}
			group.Wait()
			if n := started.Load(); n != 1 {
				t.Fatalf("%d tasks were started at once", n)
			}
			w.over(nodes[0], id.Load().(string))
			time.Sleep(5 * time.Second)
		}
	})
}

// A node that dies with a shard is succeeded once it is dead, and the shard
// goes on from its cursor. What the dead one does later changes nothing.
func TestTakeOverAndLateHolder(t *testing.T) {
	inBubble(t, func(w *world) {
		w.kind.steps = 30
		w.kind.plan = func(context.Context) ([]string, error) { return []string{"only"}, nil }
		resume := make(chan struct{})
		var late atomic.Value
		var victim atomic.Pointer[node]
		w.kind.step = func(ctx context.Context, wk *task.Work, i int) error {
			if v := victim.Load(); v != nil && i == 10 && late.Load() == nil {
				late.Store("paused")
				v.kill()
				<-resume
				v.line.set(func() { v.line.cut = false })
				err := wk.Save(context.Background(), []byte("999"), wk.Progress)
				late.Store(fmt.Sprint(errors.Is(err, task.ErrLost), err))
				return err
			}
			return wait(ctx, time.Second)
		}
		a := w.join()
		victim.Store(a)
		begun := w.start(a)
		time.Sleep(20 * time.Second)
		b := w.join()
		killed := time.Now()
		got := w.over(b, begun.ID)
		if got.Status != task.Completed || string(got.Result) != `{"steps":30}` {
			t.Errorf("task = %+v", got)
		}
		if d := time.Since(killed); d > 3*time.Minute {
			t.Errorf("it took %v to go on", d)
		}
		if time.Since(killed) < 60*time.Second {
			t.Error("the shard was taken before its holder was dead")
		}
		close(resume)
		time.Sleep(10 * time.Second)
		if s := late.Load().(string); !strings.HasPrefix(s, "true") {
			t.Errorf("the late holder's Save = %s, want ErrLost", s)
		}
		w.kind.wantEach(t, 1)
		if e := w.kind.epochs["only"]; len(e) != 2 || e[1] <= e[0] {
			t.Errorf("epochs %v, want two that grow", e)
		}
	})
}

// While the holder is paused its successor may be at work.
func TestLateHolderDuringSuccessor(t *testing.T) {
	inBubble(t, func(w *world) {
		w.kind.steps = 100
		w.kind.plan = func(context.Context) ([]string, error) { return []string{"only"}, nil }
		var paused, lost atomic.Bool
		var a *node
		w.kind.step = func(ctx context.Context, wk *task.Work, i int) error {
			if !paused.CompareAndSwap(false, true) {
				return wait(ctx, time.Second)
			}
			a.kill()
			time.Sleep(150 * time.Second)
			a.line.set(func() { a.line.cut = false })
			err := wk.Save(context.Background(), []byte("0"), task.Progress{})
			lost.Store(errors.Is(err, task.ErrLost))
			return err
		}
		a = w.join()
		begun := w.start(a)
		time.Sleep(5 * time.Second)
		b := w.join()
		if got := w.over(b, begun.ID); got.Status != task.Completed || string(got.Result) != `{"steps":100}` {
			t.Errorf("task = %+v", got)
		}
		if !lost.Load() {
			t.Error("the late holder could save")
		}
		w.kind.wantEach(t, 1)
	})
}

func TestNodeThatStopsGivesItsShardsBack(t *testing.T) {
	inBubble(t, func(w *world) {
		w.kind.steps = 10
		a := w.join()
		begun := w.start(a)
		time.Sleep(5 * time.Second)
		b := w.join()
		w.end(a)
		w.nodes = w.nodes[1:]
		left := time.Now()
		if got := w.over(b, begun.ID); got.Status != task.Completed {
			t.Errorf("task = %+v", got)
		}
		if d := time.Since(left); d > time.Minute {
			t.Errorf("what a stopped node had was left for %v", d)
		}
		w.kind.wantEach(t, 8)
	})
}

func TestFailures(t *testing.T) {
	broken := errors.New("the disk is on fire")
	t.Run("shard", func(t *testing.T) {
		inBubble(t, func(w *world) {
			w.kind.step = func(_ context.Context, wk *task.Work, _ int) error {
				if wk.Shard == "shard-03" {
					return broken
				}
				return nil
			}
			a := w.join()
			got := w.over(a, w.start(a).ID)
			if got.Status != task.Failed || got.Error != "shard-03: the disk is on fire" || w.kind.aborts != 1 {
				t.Errorf("task = %+v, %d aborts", got, w.kind.aborts)
			}
			if n := len(w.kind.epochs["shard-03"]); n != task.Tries {
				t.Errorf("%d tries, want %d", n, task.Tries)
			}
		})
	})
	t.Run("shard for good", func(t *testing.T) {
		inBubble(t, func(w *world) {
			w.kind.step = func(_ context.Context, wk *task.Work, _ int) error {
				if wk.Shard == "shard-03" {
					return fmt.Errorf("look: %w", task.Final(broken))
				}
				return nil
			}
			a := w.join()
			got := w.over(a, w.start(a).ID)
			if got.Status != task.Failed || got.Error != "shard-03: look: the disk is on fire" || w.kind.aborts != 1 {
				t.Errorf("task = %+v, %d aborts", got, w.kind.aborts)
			}
			if n := len(w.kind.epochs["shard-03"]); n != 1 {
				t.Errorf("%d tries, want one", n)
			}
		})
	})
	t.Run("shard once", func(t *testing.T) {
		inBubble(t, func(w *world) {
			var once sync.Once
			w.kind.step = func(context.Context, *task.Work, int) (err error) {
				once.Do(func() { err = broken })
				return err
			}
			a := w.join()
			if got := w.over(a, w.start(a).ID); got.Status != task.Completed {
				t.Errorf("task = %+v", got)
			}
		})
	})
	t.Run("plan", func(t *testing.T) {
		inBubble(t, func(w *world) {
			tries := 0
			w.kind.plan = func(context.Context) ([]string, error) { tries++; return nil, broken }
			a := w.join()
			got := w.over(a, w.start(a).ID)
			if got.Status != task.Failed || got.Error != broken.Error() || tries != task.Tries {
				t.Errorf("task = %+v after %d tries", got, tries)
			}
		})
	})
	t.Run("plan with the same shard twice", func(t *testing.T) {
		inBubble(t, func(w *world) {
			w.kind.plan = func(context.Context) ([]string, error) { return []string{"x", "x"}, nil }
			a := w.join()
			if got := w.over(a, w.start(a).ID); got.Status != task.Failed || !strings.Contains(got.Error, "planned twice") {
				t.Errorf("task = %+v", got)
			}
		})
	})
	t.Run("finish", func(t *testing.T) {
		inBubble(t, func(w *world) {
			tries := 0
			w.kind.finish = func(context.Context) error { tries++; return broken }
			a := w.join()
			got := w.over(a, w.start(a).ID)
			if got.Status != task.Failed || got.Error != broken.Error() || tries != task.Tries {
				t.Errorf("task = %+v after %d tries", got, tries)
			}
		})
	})
	t.Run("nothing to do", func(t *testing.T) {
		inBubble(t, func(w *world) {
			w.kind.plan = func(context.Context) ([]string, error) { return nil, nil }
			a := w.join()
			if got := w.over(a, w.start(a).ID); got.Status != task.Completed || got.Summary != "0 steps" {
				t.Errorf("task = %+v", got)
			}
		})
	})
}

// A shard that needs others waits for them, however often it is asked.
func TestLater(t *testing.T) {
	inBubble(t, func(w *world) {
		var others atomic.Int32
		w.kind.step = func(ctx context.Context, wk *task.Work, i int) error {
			if wk.Shard == "shard-00" && others.Load() < 7 {
				return fmt.Errorf("after the others: %w", task.ErrLater)
			}
			if err := wait(ctx, 10*time.Second); err != nil {
				return err
			}
			if i == w.kind.steps-1 {
				others.Add(1)
			}
			return nil
		}
		a := w.join()
		if got := w.over(a, w.start(a).ID); got.Status != task.Completed {
			t.Errorf("task = %+v", got)
		}
		w.kind.wantEach(t, 8)
	})
}

// A planner that dies is succeeded, and what it had planned does not count.
func TestPlannerThatDies(t *testing.T) {
	inBubble(t, func(w *world) {
		var a *node
		var written atomic.Int32
		a = w.join()
		a.line.set(func() {
			a.line.put = func(item kv.Item) error {
				if strings.HasPrefix(item.Partition, "k/") && strings.Contains(item.Sort, "/") {
					if written.Add(1) > 3 {
						return errCut
					}
				}
				return nil
			}
		})
		plans := 0
		w.kind.plan = func(context.Context) ([]string, error) {
			if plans++; plans == 1 {
				return names(8), nil
			}
			a.kill()
			return []string{"other-1", "other-2"}, nil
		}
		begun := w.start(a)
		time.Sleep(time.Second)
		a.kill()
		b := w.join()
		got := w.over(b, begun.ID)
		if got.Status != task.Completed || got.Shards != 2 || string(got.Result) != `{"steps":6}` {
			t.Errorf("task = %+v", got)
		}
		w.kind.wantEach(t, 2)
		time.Sleep(time.Second)
		if n := w.count(kv.TaskShards(begun.ID)); n != 0 {
			t.Errorf("%d shards are left", n)
		}
	})
}

// A finisher that dies between the two writes leaves the task in both places.
func TestFoundInBoth(t *testing.T) {
	inBubble(t, func(w *world) {
		a := w.join()
		a.line.set(func() {
			a.line.bad = func(key kv.Key) error {
				if key.Partition == kv.OpenTasks {
					return errCut
				}
				return nil
			}
		})
		begun := w.start(a)
		w.over(a, begun.ID)
		if w.count(kv.OpenTasks) != 1 || w.count(kv.DoneTasks) != 1 {
			t.Fatal("the test does not do what it is for")
		}
		list, err := a.List(t.Context())
		if err != nil || len(list) != 1 || list[0].Status != task.Completed {
			t.Errorf("List = %+v, %v", list, err)
		}
		a.kill()
		b := w.join()
		w.kind.done = map[string][]int{}
		next := w.start(b) // at once: the starter finds it in both
		if got := w.over(b, next.ID); got.Status != task.Completed {
			t.Errorf("task = %+v", got)
		}
		w.kind.wantEach(t, 8)
	})
}
