package yum

import (
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"granary/formats"
)

// collected is the middle of a document, kept compressed in the fastest way.
type collected struct {
	scratch formats.Scratch
	z       *zstd.Encoder
	doc     formats.Document // when it is complete
}

func (c *collected) begin(pub formats.Pub) error {
	var err error
	if c.scratch, err = pub.Scratch(); err != nil {
		return err
	}
	c.z, err = zstd.NewWriter(c.scratch, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<20))
	if err != nil {
		return fmt.Errorf("collect metadata: %w", err)
	}
	return nil
}

// close frees what a rendering that was given up has not.
func (c *collected) close() {
	if c.z != nil && c.doc == nil {
		c.z.Reset(io.Discard)
		c.z.Close() //nolint:errcheck // into nothing
	}
}

func (c *collected) end() error {
	err := c.z.Close()
	if err != nil {
		return fmt.Errorf("collect metadata: %w", err)
	}
	c.doc, err = c.scratch.Done()
	return err
}

// open reads what was collected.
func (c *collected) open() (io.ReadCloser, error) {
	r, err := c.doc.Open()
	if err != nil {
		return nil, err
	}
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
	if err != nil {
		r.Close() //nolint:errcheck // only read
		return nil, fmt.Errorf("read collected metadata: %w", err)
	}
	return &collectedReader{z, r}, nil
}

type collectedReader struct {
	*zstd.Decoder
	from io.Closer
}

func (r *collectedReader) Close() error {
	r.Decoder.Close()
	return r.from.Close()
}
