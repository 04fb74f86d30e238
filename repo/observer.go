package repo

import (
	"context"
	"errors"
	"time"

	"granary/formats"
)

// Observer is told of uploads and of what caches do; telemetry has one. It is
// used concurrently and must be quick.
type Observer interface {
	// UploadBegan and UploadEnded are told of each request that brings bytes.
	UploadBegan()
	UploadEnded()
	// Received is told how long a body took to be read, hashed and, if it is
	// long, streamed into the store.
	Received(took time.Duration)
	// Committed is told how long the records of an upload took to be durable,
	// and how long the whole upload took.
	Committed(took, whole time.Duration)
	// Ingested is told of a file that was stored, by a client or by a cache:
	// known if its content was in the store before.
	Ingested(format, repositoryType string, known bool, size int64)
	// ChunkBegan and ChunkEnded are told of each request that brings bytes to an
	// upload session, and how many were taken.
	ChunkBegan()
	ChunkEnded(taken int64)
	// Cached is told what came of a question to a cache: one of the results
	// below.
	Cached(format, result string)
}

// What comes of a question to a cache for a file or for a document of its
// upstream.
const (
	Hit        = "hit"         // what is here is current, maybe by the word of the upstream
	Miss       = "miss"        // it was fetched, or the upstream has none
	Failed     = "error"       // it could not be fetched
	StaleServe = "stale_serve" // what is here is past its time
)

// unobserved is the Observer of a service without one.
type unobserved struct{}

var _ Observer = unobserved{}

func (unobserved) UploadBegan()                          {}
func (unobserved) UploadEnded()                          {}
func (unobserved) Received(time.Duration)                {}
func (unobserved) Committed(_, _ time.Duration)          {}
func (unobserved) Ingested(_, _ string, _ bool, _ int64) {}
func (unobserved) ChunkBegan()                           {}
func (unobserved) ChunkEnded(int64)                      {}
func (unobserved) Cached(_, _ string)                    {}

// uploading tells that a request brings bytes, until it is called.
func (s *Service) uploading() (ended func()) {
	s.Observer.UploadBegan()
	return s.Observer.UploadEnded
}

// cached tells what came of a question.
func (c *cache) cached(result string) { c.service.Observer.Cached(c.repo.Format, result) }

// came tells what came of asking the upstream: an error, something new, or what
// was here before, past its time or confirmed.
func (c *cache) came(err error, fetched, past bool) {
	switch {
	case errors.Is(err, context.Canceled): // nobody waits for it any more
	case errors.Is(err, formats.ErrNotFound):
		c.cached(Miss)
	case err != nil:
		c.cached(Failed)
	case fetched:
		c.cached(Miss)
	case past:
		c.cached(StaleServe)
	default:
		c.cached(Hit)
	}
}
