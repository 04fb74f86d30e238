package retention

import (
	"context"
	"errors"
	"fmt"
	"time"

	"granary/formats"
	"granary/repo/config"
)

// Result is what a plan came to, or would.
type Result struct {
	Scanned  int64 // records that were judged
	Expired  int64 // of them that went as versions
	Unneeded int64 // of them that went because nothing needed them
	Bytes    int64 // of what went
}

// linkedBatch bounds how many records that nothing keeps are removed before it
// is looked again whether something came to need them.
const linkedBatch = 20_000

// Clean does what the plan says, or, dry, nothing, and calls found for each item
// with what became of it. What was written since it was judged stays.
func (p *Planner) Clean(ctx context.Context, c *config.Repository, r Rules, dry bool, found func(Item) error) (Result, error) {
	plan, err := p.plan(c, r)
	if err != nil {
		return Result{}, err
	}
	w := &cleaning{plan: plan, looked: plan.began, dry: dry, tell: found}
	err = plan.run(ctx, func(it Item) error {
		w.result.Scanned++
		switch {
		case !it.Drop:
			return found(it)
		case it.linked && !dry:
			w.batch = append(w.batch, it)
			if len(w.batch) < linkedBatch {
				return nil
			}
			return w.unneeded(ctx)
		}
		return w.remove(ctx, it)
	})
	if err == nil {
		err = w.unneeded(ctx)
	}
	if err != nil {
		return w.result, fmt.Errorf("clean %s: %w", c.Name, err)
	}
	return w.result, nil
}

type cleaning struct {
	*plan
	dry    bool
	tell   func(Item) error
	result Result
	batch  []Item    // that nothing needs
	looked time.Time // at what keeps others
}

// remove removes one item, unless it is another by now.
func (w *cleaning) remove(ctx context.Context, it Item) error {
	if !w.dry {
		ok, err := w.Repositories.RemoveRecord(ctx, w.repo, it.Named, w.began)
		if err != nil {
			return err
		}
		if !ok {
			it.Drop, it.Reason = false, "it was written since it was judged"
			return w.tell(it)
		}
	}
	w.count(it, 1)
	return w.tell(it)
}

func (w *cleaning) count(it Item, n int64) {
	if it.linked {
		w.result.Unneeded += n
	} else {
		w.result.Expired += n
	}
	w.result.Bytes += n * it.Record.Size
}

// unneeded removes the batch. What something came to need before is left, and
// what something came to need meanwhile is put back.
func (w *cleaning) unneeded(ctx context.Context) error {
	if len(w.batch) == 0 {
		return nil
	}
	if err := w.look(ctx); err != nil {
		return err
	}
	var gone []Item
	for _, it := range w.batch {
		if drop, reason := w.graph.judge(it.Named); !drop {
			it.Drop, it.Reason = false, reason
			if err := w.tell(it); err != nil {
				return err
			}
			continue
		}
		if err := w.remove(ctx, it); err != nil {
			return errors.Join(err, w.restore(ctx, gone))
		}
		gone = append(gone, it)
	}
	w.batch = w.batch[:0]
	return w.restore(ctx, gone)
}

// look marks what came to be needed since the last look, which began a little
// before: clocks differ.
func (w *cleaning) look(ctx context.Context) error {
	now := w.Now()
	if err := w.graph.again(ctx, w.looked.Add(-lookBack)); err != nil {
		return err
	}
	w.looked = now
	return nil
}

const lookBack = 10 * time.Second

func (w *cleaning) restore(ctx context.Context, gone []Item) error {
	if len(gone) == 0 {
		return nil
	}
	if err := w.look(ctx); err != nil {
		return err
	}
	// What was put back may need others that went.
	for put := true; put; {
		put = false
		for i, it := range gone {
			drop, reason := w.graph.judge(it.Named)
			if drop || !it.Drop {
				continue
			}
			gone[i].Drop, put = false, true
			if err := w.Repositories.RestoreRecord(ctx, w.repo, it.Named); err != nil && !errors.Is(err, formats.ErrNotFound) {
				return err
			}
			if err := w.graph.keep(ctx, it.Named); err != nil {
				return err
			}
			w.count(it, -1)
			it.Drop, it.Reason = false, reason
			if err := w.tell(it); err != nil {
				return err
			}
		}
	}
	return nil
}
