package formattest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"strings"
	"testing"

	"granary/digest"
	"granary/formats"
)

// Tx is an upload to a [Store]. It reports what no format may do to its test.
type Tx struct {
	Puts    []formats.Record // in order, as Put was given them
	Deletes []string         // keys

	tb    testing.TB
	store *Store
	blobs []formats.Blob // of Puts
	mays  []func(*formats.Record) error
	made  map[formats.Blob]bool
}

// NewTx begins an upload.
func NewTx(tb testing.TB, s *Store) *Tx {
	return &Tx{tb: tb, store: s, made: map[formats.Blob]bool{}}
}

var _ formats.Tx = (*Tx)(nil)

// Bytes is a [formats.Blob] in memory.
type Bytes struct {
	*bytes.Reader
	sums digest.Sums
	data []byte
}

// NewBytes hashes data.
func NewBytes(data []byte, also ...digest.Algorithm) *Bytes {
	h := digest.NewHasher(also...)
	h.Write(data) //nolint:errcheck // never fails
	return &Bytes{Reader: bytes.NewReader(data), sums: h.Sums(), data: data}
}

// Sums returns the digests.
func (b *Bytes) Sums() digest.Sums { return b.sums }

// Blob reads r to its end.
func (t *Tx) Blob(_ context.Context, r io.Reader, also ...digest.Algorithm) (formats.Blob, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("receive: %w", err)
	}
	b := NewBytes(data, also...)
	t.made[b] = true
	return b, nil
}

// Put checks the record as the core would have to.
func (t *Tx) Put(rec formats.Record, b formats.Blob) {
	t.tb.Helper()
	t.put(rec, b, nil)
}

// PutIf is Put under a condition.
func (t *Tx) PutIf(rec formats.Record, b formats.Blob, may func(*formats.Record) error) {
	t.tb.Helper()
	t.put(rec, b, may)
}

func (t *Tx) put(rec formats.Record, b formats.Blob, may func(*formats.Record) error) {
	t.tb.Helper()
	if err := formats.CheckPath(rec.Key()); err != nil || rec.Name == "" || rec.Scope != "" && formats.CheckPath(rec.Scope) != nil {
		t.tb.Errorf("Put of %q in %q: %v", rec.Name, rec.Scope, err)
	}
	if b != nil && !t.made[b] {
		t.tb.Errorf("Put of %s with bytes of another upload", rec.Key())
	}
	if pointer := t.store.pointer(rec.Name); pointer != (b == nil) {
		t.tb.Errorf("Put of %s: a name with a colon is for records without bytes, and only for them", rec.Key())
	}
	for _, p := range t.Puts {
		if p.Key() == rec.Key() {
			t.tb.Errorf("Put of %s twice", rec.Key())
		}
	}
	t.Puts = append(t.Puts, rec)
	t.blobs = append(t.blobs, b)
	t.mays = append(t.mays, may)
}

// Delete notes a deletion.
func (t *Tx) Delete(scope, name string) { t.Deletes = append(t.Deletes, formats.Join(scope, name)) }

// Record returns a published record.
func (t *Tx) Record(_ context.Context, scope, name string) (formats.Record, error) {
	return t.store.record(scope, name)
}

// Retire is Record.
func (t *Tx) Retire(ctx context.Context, scope, name string) (formats.Record, error) {
	return t.Record(ctx, scope, name)
}

// Records yields the published records of a scope.
func (t *Tx) Records(ctx context.Context, scope string) iter.Seq2[formats.Record, error] {
	return t.store.Records(ctx, scope)
}

// Settings returns those given to the Store.
func (t *Tx) Settings() formats.Settings { return t.store.Set }

// Commit publishes the upload as a whole: ErrExists if a record that does not
// move has other bytes and the store keeps them, ErrNotFound if none of the
// deletions met a record.
func (t *Tx) Commit() error {
	s := t.store
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, rec := range t.Puts {
		old, ok := s.files[rec.Key()]
		if may := t.mays[i]; may != nil {
			var was *formats.Record
			if ok {
				was = &old.rec
			}
			if err := may(was); err != nil {
				return err
			}
			continue
		}
		if ok && t.blobs[i] != nil && !rec.Move && !rec.Force && !s.Overwrite && old.rec.Sums.Check(t.blobs[i].Sums()) != nil {
			return fmt.Errorf("%s: %w", rec.Key(), formats.ErrExists)
		}
	}
	for i, rec := range t.Puts {
		f := file{rec: rec}
		f.rec.Time = s.now()
		if b := t.blobs[i]; b != nil {
			f.rec.Sums, f.rec.Size = b.Sums(), b.Size()
			f.data = make([]byte, b.Size())
			if _, err := b.ReadAt(f.data, 0); err != nil && err != io.EOF { //nolint:errorlint // plain by contract
				return err
			}
		}
		s.files[rec.Key()] = f
	}
	met := len(t.Deletes) == 0
	for _, key := range t.Deletes {
		_, ok := s.files[key]
		met = met || ok
		delete(s.files, key)
	}
	if !met {
		return fmt.Errorf("%s: %w", strings.Join(t.Deletes, ", "), formats.ErrNotFound)
	}
	return nil
}
