package repo

import (
	"context"
	"fmt"
	"io"

	"granary/digest"
	"granary/formats"
)

// Scratch begins bytes that no reader will see.
func (w *pubWriter) Scratch() (formats.Scratch, error) {
	f, err := w.receive()
	if err != nil {
		return nil, err
	}
	s := &scratch{service: w.service, file: f}
	w.scratch = append(w.scratch, s)
	return s, nil
}

// scratch is formats.Scratch: short bytes stay in memory, long ones go to the
// store, where nothing refers to them.
type scratch struct {
	service *Service
	file    *pubFile
	ended   bool
}

func (s *scratch) Write(b []byte) (int, error) { return s.file.pipe.Write(b) }

// Done waits until the bytes have arrived.
func (s *scratch) Done() (formats.Document, error) {
	s.ended = true
	s.file.pipe.Close() //nolint:errcheck // never fails
	<-s.file.done
	if s.file.err != nil {
		return nil, fmt.Errorf("keep what documents are made of: %w", s.file.err)
	}
	return s, nil
}

// Size is that of the bytes.
func (s *scratch) Size() int64 { return s.file.received.Size() }

// Sums are their BLAKE3 and SHA-256.
func (s *scratch) Sums() digest.Sums { return s.file.received.Sums() }

// Open reads them from the beginning.
func (s *scratch) Open() (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(s.file.received, 0, s.Size())), nil
}

// drop ends the bytes, if nobody did, and forgets them.
func (s *scratch) drop(ctx context.Context) {
	if !s.ended {
		s.file.pipe.CloseWithError(errAbandoned) //nolint:errcheck // never fails
		<-s.file.done
	}
	if s.file.received != nil {
		s.service.discard(ctx, s.file.received)
	}
}
