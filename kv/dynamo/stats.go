package dynamo

import (
	"math"
	"sync/atomic"
	"time"
)

// Stats are counts since a store was opened.
type Stats struct {
	Requests   uint64  // sent or tried to send, repetitions included
	Retries    uint64  // requests that repeated another
	Throttles  uint64  // answers that refused for load, and items that a batch left undone
	Unsettled  uint64  // writes whose outcome was unknown for a while or to the end
	ReadUnits  float64 // consumed capacity, where the service tells
	WriteUnits float64
}

// Event is one request that has ended.
type Event struct {
	Operation string // as the API calls it: GetItem, PutItem, …
	Elapsed   time.Duration
	// Outcome is ok, conflict, throttled, faulty (an error of the service),
	// broken (no answer), unsent (no connection), unread (a refusal whose reason
	// got lost) or refused (anything else).
	Outcome    string
	Retry      bool // repeats a request
	ReadUnits  float64
	WriteUnits float64
}

// counters are those of [Stats]; capacity is in thousandths of a unit.
type counters struct {
	requests, retries, throttles, unsettled atomic.Uint64
	reads, writes                           atomic.Uint64
}

func (c *counters) snapshot() Stats {
	return Stats{
		Requests:   c.requests.Load(),
		Retries:    c.retries.Load(),
		Throttles:  c.throttles.Load(),
		Unsettled:  c.unsettled.Load(),
		ReadUnits:  float64(c.reads.Load()) / 1000,
		WriteUnits: float64(c.writes.Load()) / 1000,
	}
}

func (c *counters) add(e Event) {
	c.requests.Add(1)
	if e.Retry {
		c.retries.Add(1)
	}
	if e.Outcome == throttled.String() {
		c.throttles.Add(1)
	}
	c.reads.Add(uint64(math.Round(e.ReadUnits * 1000)))
	c.writes.Add(uint64(math.Round(e.WriteUnits * 1000)))
}
