package cluster

import "time"

// clock is a node's sense of time: a wall clock, which may be wrong, and one
// that only ever runs forward.
type clock struct {
	now     func() time.Time
	elapsed func() time.Duration // nil: the system's monotonic clock, from start on
	start   time.Time
}

// moment is a time that durations are counted from.
type moment struct {
	mono time.Duration
	wall time.Time // of the system; zero if elapsed is given
}

func (c *clock) mono() time.Duration {
	if c.elapsed != nil {
		return c.elapsed()
	}
	return time.Since(c.start)
}

func (c *clock) at() moment {
	if c.elapsed != nil {
		return moment{mono: c.elapsed()}
	}
	t := time.Now()
	return moment{mono: t.Sub(c.start), wall: t.Round(0)}
}

// since returns how long ago m was.
func (c *clock) since(m moment) time.Duration { return c.at().sub(m) }

// sub returns the time from m to now by whichever clock says more: the
// monotonic one stands still while a machine sleeps.
func (now moment) sub(m moment) time.Duration {
	d := now.mono - m.mono
	if !m.wall.IsZero() {
		d = max(d, now.wall.Sub(m.wall))
	}
	return d
}
