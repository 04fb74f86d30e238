package check

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"granary/blob"
)

// Probe tells within a handful of calls whether a store can be reached and
// written, read, listed and deleted with what it was configured with. Run is
// the thorough one.
func Probe(ctx context.Context, s blob.Store) (err error) {
	id, err := blob.NewID(time.Now(), rand.Reader)
	if err != nil {
		return err
	}
	want := []byte("granary was here " + string(id))
	defer func() {
		if derr := s.Delete(context.WithoutCancel(ctx), id); derr != nil {
			err = errors.Join(err, fmt.Errorf("delete: %w", derr))
		}
	}()
	if err := put(ctx, s, id, want); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	r, err := s.Open(ctx, id, 0, -1)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	got, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if !bytes.Equal(got, want) {
		return errors.New("read: other bytes than were written")
	}
	for info, err := range s.List(ctx, id.Path()) {
		if err != nil {
			return fmt.Errorf("list: %w", err)
		}
		if info.ID == id {
			return nil
		}
	}
	return errors.New("list: what was written is not listed")
}

func put(ctx context.Context, s blob.Store, id blob.ID, b []byte) error {
	w, err := s.Create(ctx, id, int64(len(b)))
	if err != nil {
		return err
	}
	if _, err = w.Write(b); err == nil {
		return w.Commit(ctx)
	}
	return errors.Join(err, w.Abort(context.WithoutCancel(ctx)))
}
