package s3

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"granary/blob"
)

// Open implements [blob.Store].
func (s *Store) Open(ctx context.Context, id blob.ID, offset, length int64) (io.ReadCloser, error) {
	r, err := s.open(ctx, id, offset, length)
	if err != nil {
		return nil, fmt.Errorf("open blob %s at %d: %w", id, offset, mapped(ctx, err))
	}
	return r, nil
}

func (s *Store) open(ctx context.Context, id blob.ID, offset, length int64) (io.ReadCloser, error) {
	empty := io.NopCloser(bytes.NewReader(nil))
	if err := valid(ctx, id); err != nil {
		return nil, err
	}
	if offset < 0 || length < -1 {
		return nil, fmt.Errorf("invalid range of %d bytes", length)
	}
	if length == 0 {
		_, err := s.Stat(ctx, id)
		return empty, err
	}
	in := &s3.GetObjectInput{Bucket: &s.cfg.Bucket, Key: aws.String(s.key(id))}
	whole := offset == 0 && length < 0
	if !whole {
		in.Range = aws.String(rangeOf(offset, length))
	}
	out, err := s.client.GetObject(ctx, in)
	if status(err) == http.StatusRequestedRangeNotSatisfiable {
		return empty, nil // the object is there, and ends before
	}
	if err != nil {
		return nil, err
	}
	if !whole && !strings.HasPrefix(aws.ToString(out.ContentRange), fmt.Sprintf("bytes %d-", offset)) {
		out.Body.Close() //nolint:errcheck // it is not what was asked for
		return nil, fmt.Errorf("the store answered range %s with %q", *in.Range, aws.ToString(out.ContentRange))
	}
	return out.Body, nil
}

// rangeOf returns the header for a range that is not empty.
func rangeOf(offset, length int64) string {
	if end := offset + length - 1; length > 0 && end >= offset {
		return fmt.Sprintf("bytes=%d-%d", offset, end)
	}
	return fmt.Sprintf("bytes=%d-", offset)
}

// Stat implements [blob.Store].
func (s *Store) Stat(ctx context.Context, id blob.ID) (blob.Info, error) {
	out, err := s.head(ctx, id)
	if err != nil {
		return blob.Info{}, fmt.Errorf("stat blob %s: %w", id, mapped(ctx, err))
	}
	return blob.Info{ID: id, Size: aws.ToInt64(out.ContentLength), Modified: aws.ToTime(out.LastModified)}, nil
}

func (s *Store) head(ctx context.Context, id blob.ID) (*s3.HeadObjectOutput, error) {
	if err := valid(ctx, id); err != nil {
		return nil, err
	}
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.cfg.Bucket, Key: aws.String(s.key(id))})
	if status(err) == http.StatusNotFound {
		// An answer to HEAD has no body: it may be the bucket that is missing,
		// and a blob must not be taken for lost then.
		if _, berr := s.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &s.cfg.Bucket}); status(berr) == http.StatusNotFound {
			return nil, fmt.Errorf("%w: there is no bucket %q", blob.ErrUnavailable, s.cfg.Bucket)
		}
	}
	return out, err
}

// Delete implements [blob.Store].
func (s *Store) Delete(ctx context.Context, id blob.ID) error {
	err := valid(ctx, id)
	if err == nil {
		_, err = s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.cfg.Bucket, Key: aws.String(s.key(id))})
		if status(err) == http.StatusNotFound && code(err) != "NoSuchBucket" {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("delete blob %s: %w", id, mapped(ctx, err))
	}
	return nil
}

// List implements [blob.Store].
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{
			Bucket: &s.cfg.Bucket, Prefix: aws.String(s.cfg.Prefix + prefix),
		}, func(o *s3.ListObjectsV2PaginatorOptions) { o.StopOnDuplicateToken = true })
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(blob.Info{}, fmt.Errorf("list blobs %q: %w", prefix, mapped(ctx, err)))
				return
			}
			for _, o := range page.Contents {
				id, ok := s.idOf(aws.ToString(o.Key))
				if ok && id.Lists(prefix) && !yield(blob.Info{ID: id, Size: aws.ToInt64(o.Size), Modified: aws.ToTime(o.LastModified)}, nil) {
					return
				}
			}
		}
	}
}

// Presign implements [blob.Presigner].
func (s *Store) Presign(ctx context.Context, id blob.ID, ttl time.Duration, h blob.Header) (string, error) {
	if err := valid(ctx, id); err != nil {
		return "", fmt.Errorf("presign blob %s: %w", id, err)
	}
	req, err := s3.NewPresignClient(s.client).PresignGetObject(ctx, &s3.GetObjectInput{
		Bucket:                     &s.cfg.Bucket,
		Key:                        aws.String(s.key(id)),
		ResponseContentType:        optional(h.ContentType),
		ResponseContentDisposition: optional(h.ContentDisposition),
		ResponseCacheControl:       optional(h.CacheControl),
	}, s3.WithPresignExpires(ttl))
	if err != nil {
		return "", fmt.Errorf("presign blob %s: %w", id, err)
	}
	return req.URL, nil
}
