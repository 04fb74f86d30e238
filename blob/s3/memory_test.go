package s3

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const mib = 1 << 20

// taking takes memory on a goroutine of its own and tells when it has it.
func taking(t *testing.T, m *Memory, n int64) (has func() bool) {
	t.Helper()
	var done atomic.Bool
	go func() {
		if err := m.take(t.Context(), n, true); err != nil {
			t.Error(err)
		}
		done.Store(true)
	}()
	return func() bool { synctest.Wait(); return done.Load() }
}

// Who waits gets memory in the order of coming, also if a shorter one behind
// would fit.
func TestMemoryInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(48 * mib)
		for range 5 {
			if !taking(t, m, 8*mib)() {
				t.Fatal("it waited although there was memory")
			}
		}
		long := taking(t, m, 16*mib)
		synctest.Wait()
		short := taking(t, m, 1*mib)
		if long() || short() {
			t.Error("one of them did not wait")
		}
		m.give(8 * mib)
		if !long() || short() {
			t.Errorf("after 8 MiB came back the long one has its memory: %v, the short one: %v", long(), short())
		}
		m.give(8 * mib)
		if !short() {
			t.Error("the short one still waits")
		}
	})
}

// What the server makes itself does not wait, and is counted.
func TestMemoryOfTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(16 * mib)
		for range 3 {
			if err := m.take(t.Context(), 8*mib, false); err != nil {
				t.Fatal(err)
			}
		}
		client := taking(t, m, 8*mib)
		m.give(8 * mib)
		if client() {
			t.Error("a client got memory that there is not")
		}
		m.give(8 * mib)
		if !client() {
			t.Error("the client still waits")
		}
	})
}

// Those who hold the memory may be waiting themselves. One that waits goes on
// at last, then, after as long again, the next.
func TestMemoryHeldForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(8 * mib)
		if !taking(t, m, 8*mib)() {
			t.Fatal("it waited")
		}
		var all []func() bool
		for range 3 {
			all = append(all, taking(t, m, 8*mib))
			synctest.Wait()
		}
		count := func() int {
			return len(slices.DeleteFunc(slices.Clone(all), func(has func() bool) bool { return !has() }))
		}
		for i := range 3 {
			time.Sleep(patience - 10*time.Millisecond)
			if n := count(); n != i {
				t.Errorf("%d went on before it was time, want %d", n, i)
			}
			time.Sleep(10 * time.Millisecond)
			if n := count(); n != i+1 || !all[i]() {
				t.Errorf("%d went on, want %d, the first first", n, i+1)
			}
		}
		for range 4 {
			m.give(8 * mib)
		}
		if m.left != m.total {
			t.Errorf("%d of %d bytes came back", m.left, m.total)
		}
	})
}

// While a part is on its way nobody goes on without: it ends by itself.
func TestMemoryOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(8 * mib)
		taking(t, m, 8*mib)()
		landed := m.sending()
		next := taking(t, m, 8*mib)
		time.Sleep(10 * patience)
		if next() {
			t.Error("it went on without")
		}
		landed()
		time.Sleep(patience - time.Millisecond)
		if next() {
			t.Error("it went on without, too early")
		}
		time.Sleep(patience + 2*time.Millisecond)
		if !next() {
			t.Error("it still waits")
		}
	})
}

// While memory comes back nobody goes on without.
func TestMemoryComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(16 * mib)
		for range 2 {
			taking(t, m, 8*mib)()
		}
		long := taking(t, m, 16*mib)
		synctest.Wait()
		for range 10 {
			time.Sleep(patience / 2)
			m.mu.Lock()
			m.moved = time.Now() // as if another had given something back, and taken it again
			m.mu.Unlock()
		}
		if long() {
			t.Error("it went on although others did")
		}
		m.give(8 * mib)
		m.give(8 * mib)
		if !long() {
			t.Error("it still waits")
		}
	})
}

// Who gives up takes nothing along, and lets those go on who stood behind him.
func TestMemoryGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(16 * mib)
		taking(t, m, 8*mib)()
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("gone")
		var err error
		go func() { err = m.take(ctx, 16*mib, true) }()
		synctest.Wait()
		short := taking(t, m, 8*mib)
		if short() {
			t.Error("it did not wait for its turn")
		}
		cancel(gone)
		if !short() || !errors.Is(err, gone) {
			t.Errorf("after the first gave up (%v) the next has its memory: %v", err, short())
		}
		m.give(8 * mib)
		m.give(8 * mib)
		if m.left != m.total || m.queue.Len() > 0 {
			t.Errorf("%d of %d bytes came back, %d wait", m.left, m.total, m.queue.Len())
		}
	})
}

// Many at once, of whom some give up, lose no memory and never have more than
// there is.
func TestMemoryConcurrently(t *testing.T) {
	m := NewMemory(24 * mib)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if i%5 == 0 {
				time.AfterFunc(time.Duration(i)*100*time.Microsecond, cancel)
			}
			for j := range 40 {
				n := int64(i%3*8+j%3+1) * mib
				if err := m.take(ctx, n, true); err != nil {
					return
				}
				m.mu.Lock()
				if m.left < 0 {
					t.Errorf("%d bytes more than there are", -m.left)
				}
				m.mu.Unlock()
				m.give(n)
			}
		})
	}
	wg.Wait()
	if m.left != m.total || m.queue.Len() > 0 {
		t.Errorf("%d of %d bytes came back, %d wait", m.left, m.total, m.queue.Len())
	}
}

// A part takes what it may need, no more, and nothing for its first bytes.
func TestPartCost(t *testing.T) {
	for _, c := range []struct{ need, write, want int64 }{
		{8 * mib, 64 << 10, 0},
		{8 * mib, 64<<10 + 1, 8 * mib},
		{3 * mib, 3 * mib, 4 * mib},
		{100 << 10, 100 << 10, 256 << 10},
		{50 << 10, 50 << 10, 0},
		{17 * mib, 1 * mib, 24 * mib},
	} {
		m := NewMemory(48 * mib)
		p := &part{mem: m, limit: c.need, need: c.need}
		if n, err := p.fill(t.Context(), make([]byte, c.write), true); n != int(c.write) || err != nil {
			t.Fatal(n, err)
		}
		if got := m.total - m.left; got != c.want {
			t.Errorf("%d bytes of a part of %d take %d, want %d", c.write, c.need, got, c.want)
		}
		if p.release(); m.left != m.total {
			t.Errorf("a part of %d kept %d bytes", c.need, m.total-m.left)
		}
	}
}
