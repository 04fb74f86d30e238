package audit

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/zeebo/blake3"

	"granary/blob"
	"granary/cluster/task"
	"granary/kv"
	"granary/repo/refs"
)

// How much is checked between two saves.
const (
	saveItems = 500
	saveBytes = 256 << 20
)

// maxBad bounds what one shard names; more are counted.
const maxBad = 400

// verdict is what is wrong with a blob.
type verdict string

const (
	missing    verdict = "missing"
	mismatched verdict = "mismatched"
	unreadable verdict = "error"
)

// bad is content that is not what it should be.
type bad struct {
	Hash    string  `json:"h"`
	Blob    blob.ID `json:"b"`
	Verdict verdict `json:"v"`
	Actual  string  `json:"a,omitempty"` // hash of what is there
	Error   string  `json:"e,omitempty"`
}

// contents is what a shard of content has come to.
type contents struct {
	Store  string            `json:"store"`
	Total  int64             `json:"total"`
	Counts map[verdict]int64 `json:"counts,omitempty"`
	Read   int64             `json:"read"`
	Bad    []bad             `json:"bad,omitempty"`
	More   int64             `json:"more,omitempty"` // that Bad has no room for
	// Kept is how much lost content may still be there, or be named: readers have to
	// be kept from the one, and who uploads has to hear of the other.
	Kept int64 `json:"kept,omitempty"`
}

// failed is how much is wrong.
func (c *contents) failed() (n int64) {
	for _, m := range c.Counts {
		n += m
	}
	return n
}

// content goes through the references whose hash begins with a digit.
func (k *Kind) content(ctx context.Context, w *task.Work, p Params, store, digit string) error {
	bs, err := k.c.Store(ctx, store)
	if err != nil {
		return err
	}
	out := contents{Store: store, Counts: map[verdict]int64{}}
	if w.Result != nil {
		if err := json.Unmarshal(w.Result, &out); err != nil {
			return fmt.Errorf("read the state: %w", err)
		}
	}
	saved, read := 0, out.Read
	save := func(at string) (err error) {
		saved, read = 0, out.Read
		if w.Result, err = json.Marshal(out); err != nil {
			return err
		}
		n := task.Progress{CheckedBlobs: out.Total, TotalBlobs: out.Total, FailedBlobs: out.failed(), BytesRead: out.Read, TotalBytes: out.Read, Phase: "content"}
		return w.Save(ctx, []byte(at), n)
	}
	for _, second := range hexDigits {
		prefix := digit + string(second)
		after := string(w.Cursor)
		if after != "" && prefix < after[:2] {
			continue
		}
		from := ""
		if after != "" && prefix == after[:2] {
			from = after + "\x00"
		}
		for item, err := range k.c.KV.Query(ctx, kv.ReferencePartition(store, prefix), from, "", kv.Consistent) {
			if err != nil {
				return fmt.Errorf("read references: %w", err)
			}
			if err := k.reference(ctx, bs, store, item, p, &out); err != nil {
				return err
			}
			if saved++; saved >= saveItems || out.Read-read >= saveBytes {
				if err := save(item.Sort); err != nil {
					return err
				}
			}
		}
	}
	return save(digit + "f" + "g") // after all of them
}

// reference checks the content of one.
func (k *Kind) reference(ctx context.Context, bs blob.Store, store string, item kv.Item, p Params, out *contents) error {
	ref, err := refs.Decode(item)
	if err != nil {
		out.Total++
		out.add(bad{Hash: item.Sort, Verdict: unreadable, Error: "its reference can't be read"})
		return nil //nolint:nilerr // it is reported
	}
	b := bad{Hash: item.Sort, Blob: ref.Blob}
	switch ref.State {
	case refs.Deleting:
		return nil
	case refs.Lost:
		return k.lost(ctx, bs, store, ref, p, out, b)
	}
	if err := k.look(ctx, bs, ref, p.Verify, out, &b); err != nil {
		return err
	}
	if b.Verdict == "" {
		out.Total++
		return nil
	}
	// The collector may have been at it meanwhile, or an upload may have healed it.
	now, err := k.c.KV.Get(ctx, item.Key, kv.Consistent)
	if errors.Is(err, kv.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read reference %v: %w", item.Key, err)
	}
	if cur, err := refs.Decode(now); err != nil || cur.Blob != ref.Blob || cur.State == refs.Deleting {
		return nil //nolint:nilerr // another state that the next audit looks at
	}
	if b.Verdict != unreadable {
		if err := k.quarantine(ctx, bs, store, ref, p, out, b); err != nil {
			return err
		}
	}
	out.Total++
	out.add(b)
	return nil
}

func (c *contents) add(b bad) {
	c.Counts[b.Verdict]++
	if len(c.Bad) >= maxBad {
		c.More++
		return
	}
	c.Bad = append(c.Bad, b)
}

// look judges a blob. An error is of a store that does not answer; what is
// wrong with the blob is left in b.
func (k *Kind) look(ctx context.Context, bs blob.Store, ref refs.Ref, verify bool, out *contents, b *bad) error {
	info, err := bs.Stat(ctx, ref.Blob)
	if err == nil && info.Size != ref.Size {
		b.Verdict, b.Error = mismatched, fmt.Sprintf("it has %d bytes, not %d", info.Size, ref.Size)
		return nil
	}
	if err == nil && verify {
		b.Actual, err = k.hash(ctx, bs, ref.Blob, out)
		if err == nil && b.Actual != b.Hash { // the way here may have been what is bad
			b.Actual, err = k.hash(ctx, bs, ref.Blob, out)
		}
	}
	switch {
	case errors.Is(err, blob.ErrNotFound):
		b.Verdict, b.Actual, b.Error = missing, "", "its blob is missing"
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, blob.ErrUnavailable):
		return fmt.Errorf("check blob %s: %w", ref.Blob, err)
	case err != nil:
		b.Verdict, b.Actual, b.Error = unreadable, "", "its blob can't be read"
	case verify && b.Actual != b.Hash:
		b.Verdict, b.Error = mismatched, "its bytes are not what was stored"
	default:
		b.Actual = ""
	}
	return nil
}

// hash reads a blob at the pace of the budget.
func (k *Kind) hash(ctx context.Context, bs blob.Store, id blob.ID, out *contents) (_ string, err error) {
	r, err := bs.Open(ctx, id, 0, -1)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	h := blake3.New()
	buf := make([]byte, piece)
	for {
		n, err := io.ReadFull(r, buf)
		out.Read += int64(n)
		h.Write(buf[:n]) //nolint:errcheck // never fails
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return hex.EncodeToString(h.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
		if err := k.pace.WaitN(ctx, n); err != nil {
			return "", err
		}
	}
}

// intact tells whether content that is kept in a record is what it was, and
// else the hash of what is there.
func intact(data, want []byte) (bool, string) {
	sum := blake3.Sum256(data)
	return bytes.Equal(sum[:], want), hex.EncodeToString(sum[:])
}
