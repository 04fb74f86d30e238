package s3

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// StaleUploads aborts multipart uploads of blobs under the prefix to which no
// part was added for idle, by the store's clock, and returns how many. One that
// still gets parts is left alone, however slow it is.
func (s *Store) StaleUploads(ctx context.Context, idle time.Duration) (aborted int, err error) {
	var errs []error
	pages := s3.NewListMultipartUploadsPaginator(s.client, &s3.ListMultipartUploadsInput{
		Bucket: &s.cfg.Bucket, Prefix: optional(s.cfg.Prefix),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return aborted, errors.Join(append(errs, fmt.Errorf("list multipart uploads: %w", mapped(ctx, err)))...)
		}
		now, ok := middleware.GetServerTime(page.ResultMetadata)
		if !ok {
			now = s.cfg.Now()
		}
		for _, u := range page.Uploads {
			done, err := s.abortStale(ctx, u, now.Add(-idle))
			if err != nil {
				errs = append(errs, fmt.Errorf("multipart upload of %s: %w", aws.ToString(u.Key), mapped(ctx, err)))
			}
			if done {
				aborted++
			}
		}
	}
	return aborted, errors.Join(errs...)
}

// abortStale aborts an upload that was not touched since.
func (s *Store) abortStale(ctx context.Context, u types.MultipartUpload, since time.Time) (bool, error) {
	if _, ours := s.idOf(aws.ToString(u.Key)); !ours || u.Initiated == nil || u.Initiated.After(since) {
		return false, nil
	}
	pages := s3.NewListPartsPaginator(s.client, &s3.ListPartsInput{Bucket: &s.cfg.Bucket, Key: u.Key, UploadId: u.UploadId})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if code(err) == "NoSuchUpload" {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		for _, p := range page.Parts {
			if aws.ToTime(p.LastModified).After(since) {
				return false, nil
			}
		}
	}
	_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &s.cfg.Bucket, Key: u.Key, UploadId: u.UploadId})
	if code(err) == "NoSuchUpload" {
		return false, nil
	}
	return err == nil, err
}
