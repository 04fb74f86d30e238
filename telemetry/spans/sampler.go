package spans

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"
)

// sampler decides which traces begin, or go on, here.
type sampler struct {
	least uint64        // trace ids whose last 63 bits are below it are taken
	limit *rate.Limiter // nil: none
	now   func() time.Time
}

// newSampler takes a ratio of 0 to 1 and a number of traces a second, 0 for
// any number. As many as a second's may come at once.
func newSampler(ratio, perSecond float64, now func() time.Time) *sampler {
	s := &sampler{now: now, least: uint64(ratio * (1 << 63))}
	if perSecond > 0 {
		s.limit = rate.NewLimiter(rate.Limit(perSecond), int(math.Ceil(perSecond)))
	}
	return s
}

// take decides for a new trace, or one that a caller began, which it may or may
// not record. What it asks for is no more than what the limit leaves; without a
// limit the ratio holds for it too.
func (s *sampler) take(id trace.TraceID, caller trace.SpanContext) bool {
	switch {
	case caller.IsValid() && !caller.IsSampled():
		return false
	case caller.IsValid() && s.limit != nil:
	// As samplers of OpenTelemetry do, so that all of a trace's services that
	// have the same ratio decide alike.
	case binary.BigEndian.Uint64(id[8:])>>1 >= s.least:
		return false
	}
	return s.limit == nil || s.limit.AllowN(s.now(), 1)
}

// newTraceID is random.
func newTraceID() (id trace.TraceID) {
	for !id.IsValid() {
		binary.BigEndian.PutUint64(id[:8], rand.Uint64())
		binary.BigEndian.PutUint64(id[8:], rand.Uint64())
	}
	return id
}
