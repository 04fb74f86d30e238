package s3

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"granary/blob"
)

// leastPart is how long S3 wants a part to be that is not the last one.
const leastPart = 5 << 20

var _ blob.Extender = (*Store)(nil)

// LeastPiece implements [blob.Extender].
func (s *Store) LeastPiece() int64 { return min(leastPart, s.part) }

// Pieces implements [blob.Extender].
func (s *Store) Pieces(number int, size int64) int {
	n := 0
	for ; size > 0 || n == 0; n++ {
		size -= s.pieceLength(number+n, size)
	}
	return n
}

// pieceLength is how long the piece is that has a number, when left bytes are
// still to come: no shorter one is left for the end.
func (s *Store) pieceLength(number int, left int64) int64 {
	if n := partLength(s.part, -1, number); left >= n+s.LeastPiece() {
		return n
	}
	return left
}

// Begin implements [blob.Extender]: pieces are the parts of a multipart upload.
func (s *Store) Begin(ctx context.Context, id blob.ID) (string, error) {
	err := valid(ctx, id)
	if err == nil {
		var upload string
		if upload, err = s.begin(ctx, id, rand.Text()); err == nil {
			return upload, nil
		}
	}
	return "", fmt.Errorf("begin blob %s: %w", id, mapped(ctx, err))
}

// begin begins a multipart upload.
func (s *Store) begin(ctx context.Context, id blob.ID, nonce string) (string, error) {
	out, err := s.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &s.cfg.Bucket, Key: aws.String(s.key(id)), Metadata: map[string]string{writerKey: nonce},
	})
	if err != nil {
		return "", fmt.Errorf("begin multipart upload: %w", err)
	}
	return aws.ToString(out.UploadId), nil
}

// Extend implements [blob.Extender].
func (s *Store) Extend(ctx context.Context, id blob.ID, upload string, number int, size int64) (blob.Extension, error) {
	err := valid(ctx, id)
	if err == nil && number+s.Pieces(number, size) > maxParts+1 {
		err = fmt.Errorf("%w: more than %d parts", blob.ErrTooLarge, maxParts)
	}
	if err != nil {
		return nil, fmt.Errorf("extend blob %s: %w", id, err)
	}
	w := &writer{s: s, ctx: ctx, id: id, size: size, upload: upload, number: number - 1}
	w.length = func() int64 { return s.pieceLength(w.number, size-w.n) }
	w.start()
	return &extension{w}, nil
}

// extension is a writer whose upload goes on.
type extension struct{ *writer }

// Commit implements [blob.Writer]: the parts are there.
func (x *extension) Commit(ctx context.Context) error {
	if err := x.commit(ctx); err != nil {
		return fmt.Errorf("extend blob %s: %w", x.id, mapped(ctx, err))
	}
	x.done = true
	x.end()
	return nil
}

func (x *extension) commit(ctx context.Context) error {
	if err := x.whole(ctx); err != nil {
		return err
	}
	return x.sendLast(ctx)
}

// Abort implements [blob.Writer]. Parts that were sent go with the upload.
func (x *extension) Abort(context.Context) error {
	if !x.done {
		x.quit()
	}
	return nil
}

// Pieces implements [blob.Extension].
func (x *extension) Pieces() []blob.Piece {
	x.mu.Lock()
	defer x.mu.Unlock()
	var out []blob.Piece
	for i, p := range x.parts {
		if p.PartNumber != nil {
			out = append(out, blob.Piece{Number: i + 1, Size: x.sizes[i], Tag: aws.ToString(p.ETag)})
		}
	}
	return out
}

// Assemble implements [blob.Extender].
func (s *Store) Assemble(ctx context.Context, id blob.ID, upload string, pieces []blob.Piece) error {
	err := valid(ctx, id)
	if err == nil {
		err = s.assemble(ctx, id, upload, pieces)
	}
	if err != nil {
		return fmt.Errorf("assemble blob %s: %w", id, mapped(ctx, err))
	}
	return nil
}

func (s *Store) assemble(ctx context.Context, id blob.ID, upload string, pieces []blob.Piece) error {
	var parts []types.CompletedPart
	size := int64(0)
	for _, p := range slices.SortedFunc(slices.Values(pieces), func(a, b blob.Piece) int { return cmp.Compare(a.Number, b.Number) }) {
		parts = append(parts, types.CompletedPart{PartNumber: aws.Int32(int32(p.Number)), ETag: aws.String(p.Tag)}) //nolint:gosec // at most 10,000
		size += p.Size
	}
	err := s.complete(ctx, id, upload, parts)
	if err == nil || status(err) != http.StatusPreconditionFailed && code(err) != "NoSuchUpload" {
		return err
	}
	// Somebody has done it before. The id is of this upload, so this is it.
	info, serr := s.Stat(ctx, id)
	if serr != nil {
		return errors.Join(err, serr)
	}
	if info.Size != size {
		return fmt.Errorf("%w: %d bytes are there, not %d", blob.ErrLength, info.Size, size)
	}
	return nil
}

// Drop implements [blob.Extender].
func (s *Store) Drop(ctx context.Context, id blob.ID, upload string) error {
	ctx, cancel := detach(ctx)
	defer cancel()
	_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
		Bucket: &s.cfg.Bucket, Key: aws.String(s.key(id)), UploadId: &upload,
	})
	if err != nil && code(err) != "NoSuchUpload" {
		return fmt.Errorf("drop blob %s: %w", id, mapped(ctx, err))
	}
	return nil
}
