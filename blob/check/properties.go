package check

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"granary/blob"
)

// largeSize is longer than a part of a multipart upload.
const largeSize = 9<<20 + 1

func missing(ctx context.Context, r *run) error {
	id, err := r.newID()
	if err != nil {
		return err
	}
	if err := r.absent(ctx, id); err != nil {
		return err
	}
	if err := r.Store.Delete(ctx, id); err != nil {
		return fmt.Errorf("delete of a missing blob: %w", err)
	}
	return nil
}

func roundTrip(ctx context.Context, r *run) error {
	for _, n := range []int{0, 1, 4096, 64<<10 + 1} {
		for _, announced := range []int64{-1, int64(n)} {
			id, err := r.put(ctx, pattern(n), announced)
			if err != nil {
				return fmt.Errorf("%d bytes, %d announced: %w", n, announced, err)
			}
			if err := r.expect(ctx, id, 0, -1, pattern(n)); err != nil {
				return err
			}
			info, err := r.Store.Stat(ctx, id)
			if err != nil || info.Size != int64(n) || info.ID != id {
				return fmt.Errorf("stat of %s with %d bytes: %+v, %w", id, n, info, err)
			}
		}
	}
	return nil
}

func large(ctx context.Context, r *run) error {
	content := pattern(largeSize)
	for _, announced := range []int64{-1, largeSize} {
		id, err := r.put(ctx, content, announced)
		if err != nil {
			return err
		}
		if err := r.expect(ctx, id, 0, -1, content); err != nil {
			return err
		}
		if err := r.expect(ctx, id, 8<<20-1, 2, content[8<<20-1:8<<20+1]); err != nil {
			return err
		}
	}
	return nil
}

func ranges(ctx context.Context, r *run) error {
	const n = 1000
	content := pattern(n)
	id, err := r.put(ctx, content, n)
	if err != nil {
		return err
	}
	for _, c := range []struct{ off, n int64 }{
		{0, -1}, {0, 0}, {0, 1}, {0, n}, {0, n + 1}, {1, -1}, {1, 0}, {1, n}, {n - 1, 1}, {n - 1, 2}, {n - 1, -1},
		{n, -1}, {n, 0}, {n, 1}, {n + 1, -1}, {n + 1, 5}, {10 * n, 0}, {1 << 50, -1}, {500, 100}, {5, 1<<63 - 1},
	} {
		lo := min(c.off, n)
		hi := int64(n)
		if c.n >= 0 && c.n < n-lo {
			hi = lo + c.n
		}
		if err := r.expect(ctx, id, c.off, c.n, content[lo:hi]); err != nil {
			return err
		}
	}
	for _, c := range []struct{ off, n int64 }{{-1, 1}, {0, -2}} {
		if rc, err := r.Store.Open(ctx, id, c.off, c.n); err == nil {
			rc.Close() //nolint:errcheck // that it is there is the error
			return fmt.Errorf("open at %d, %d bytes succeeded", c.off, c.n)
		}
	}
	return nil
}

func invisible(ctx context.Context, r *run) error {
	for _, n := range []int{100, largeSize} {
		id, err := r.newID()
		if err != nil {
			return err
		}
		w, err := r.Store.Create(ctx, id, -1)
		if err != nil {
			return err
		}
		_, err = w.Write(pattern(n))
		if err == nil {
			err = r.absent(ctx, id)
		}
		if err = errors.Join(err, w.Abort(ctx)); err != nil {
			return fmt.Errorf("%d bytes written: %w", n, err)
		}
	}
	return nil
}

func abort(ctx context.Context, r *run) error {
	for _, n := range []int{0, 100, largeSize} {
		id, err := r.newID()
		if err != nil {
			return err
		}
		w, err := r.Store.Create(ctx, id, int64(n)+1)
		if err != nil {
			return err
		}
		_, err = w.Write(pattern(n))
		if err = errors.Join(err, w.Abort(ctx), r.absent(ctx, id)); err != nil {
			return fmt.Errorf("%d bytes written: %w", n, err)
		}
	}
	return nil
}

func wrongLength(ctx context.Context, r *run) error {
	for _, announced := range []int64{0, 99, 101, 64 << 20} {
		id, err := r.put(ctx, pattern(100), announced)
		if !errors.Is(err, blob.ErrLength) {
			return fmt.Errorf("100 bytes, %d announced: %v, want an error of length", announced, err) //nolint:errorlint // may be nil
		}
		if err := r.absent(ctx, id); err != nil {
			return fmt.Errorf("100 bytes, %d announced: %w", announced, err)
		}
	}
	return nil
}

func lists(ctx context.Context, r *run) error {
	var ids []blob.ID
	for range 3 {
		id, err := r.put(ctx, pattern(7), 7)
		if err != nil {
			return err
		}
		ids = append(ids, id)
	}
	for _, id := range ids {
		p := id.Path()
		for _, prefix := range []string{p, p[:len(p)-1], p[:6], p[:5], p[:4], p[:3], p[:2]} {
			if ok, err := r.listed(ctx, prefix, id, 7); !ok || err != nil {
				return fmt.Errorf("list %q lacks %s: %w", prefix, id, err)
			}
		}
		for _, prefix := range []string{p + "0", "zz!", "." + p, "../"} {
			if ok, err := r.listed(ctx, prefix, id, 7); ok || err != nil {
				return fmt.Errorf("list %q has %s: %w", prefix, id, err)
			}
		}
	}
	return nil
}

func concurrent(ctx context.Context, r *run) error {
	errs := make([]error, 5)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			content := pattern(10_000 + i)
			id, err := r.put(ctx, content, -1)
			for range 3 {
				if err == nil {
					err = r.expect(ctx, id, 0, -1, content)
				}
			}
			errs[i] = err
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func createOnce(ctx context.Context, r *run) error {
	for _, n := range []int{10, largeSize} {
		content := pattern(n)
		id, err := r.put(ctx, content, int64(n))
		if err != nil {
			return err
		}
		if err := r.putAs(ctx, id, pattern(n + 1)[1:], int64(n)); !errors.Is(err, blob.ErrExists) {
			return fmt.Errorf("second blob under one id: %v, want %v", err, blob.ErrExists) //nolint:errorlint // may be nil
		}
		if err := r.expect(ctx, id, 0, -1, content); err != nil {
			return fmt.Errorf("after a second blob was refused: %w", err)
		}
	}
	return nil
}

func clock(ctx context.Context, r *run) error {
	id, err := r.put(ctx, nil, 0)
	if err != nil {
		return err
	}
	info, err := r.Store.Stat(ctx, id)
	if err != nil {
		return err
	}
	if d := r.Now().Sub(info.Modified).Abs(); d > 5*time.Minute {
		return fmt.Errorf("the store's clock is %s away from ours", d)
	}
	return nil
}

func deletes(ctx context.Context, r *run) error {
	id, err := r.put(ctx, pattern(10), 10)
	if err != nil {
		return err
	}
	for range 2 {
		if err := r.Store.Delete(ctx, id); err != nil {
			return fmt.Errorf("delete: %w", err)
		}
		if err := r.absent(ctx, id); err != nil {
			return fmt.Errorf("after delete: %w", err)
		}
	}
	return nil
}
