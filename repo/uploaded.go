package repo

import (
	"context"
	"fmt"
	"time"

	"granary/kv"
	"granary/repo/sessions"
)

// ReadUpload returns the blobs that an item of an upload session needs, for the
// collector.
func ReadUpload(item kv.Item) ([]Named, error) {
	v, err := sessions.Decode(item)
	if err != nil {
		return nil, err
	}
	var out []Named
	p := v.Part
	if v.Session != nil {
		p = v.Session.First
		if w := v.Session.Whole; w != nil {
			out = append(out, Named{Store: w.Store, Blob: w.Blob}) // its content is not known yet
		}
	}
	if p != nil && p.Blob != "" {
		out = append(out, Named{Store: p.Store, Hash: p.Sums.BLAKE3, Blob: p.Blob})
	}
	return out, nil
}

// SweepUploads removes the upload sessions of a repository whose id begins with
// prefix, two hex digits, and which nobody has gone on with for the time that
// the settings say. It returns how many.
func (s *Service) SweepUploads(ctx context.Context, sp kv.Space, prefix string) (int, error) {
	ttl := time.Duration(s.Registry.Settings().UploadSessionTTL) * time.Second
	n, err := s.uploads.Sweep(ctx, sp, prefix, ttl, s.dropWhole)
	if err != nil {
		return n, fmt.Errorf("sweep upload sessions: %w", err)
	}
	return n, nil
}
