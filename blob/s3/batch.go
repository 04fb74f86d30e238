package s3

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"granary/blob"
)

// batch is how many objects S3 deletes in one request.
const batch = 1000

// DeleteMany implements [blob.ManyDeleter]. Where the store has no batch
// delete, it deletes one by one.
func (s *Store) DeleteMany(ctx context.Context, ids []blob.ID) error {
	var errs []error
	for chunk := range slices.Chunk(ids, batch) {
		errs = append(errs, s.deleteBatch(ctx, chunk))
	}
	return errors.Join(errs...)
}

func (s *Store) deleteBatch(ctx context.Context, ids []blob.ID) error {
	objects := make([]types.ObjectIdentifier, len(ids))
	for i, id := range ids {
		if err := valid(ctx, id); err != nil {
			return fmt.Errorf("delete blob %s: %w", id, err)
		}
		objects[i].Key = aws.String(s.key(id))
	}
	out, err := s.client.DeleteObjects(ctx, &s3.DeleteObjectsInput{
		Bucket: &s.cfg.Bucket, Delete: &types.Delete{Objects: objects, Quiet: aws.Bool(true)},
	})
	var failed []error
	if err == nil {
		for _, e := range out.Errors {
			if c := aws.ToString(e.Code); c != "NoSuchKey" {
				api := &smithy.GenericAPIError{Code: c, Message: aws.ToString(e.Message)}
				failed = append(failed, fmt.Errorf("delete blob at %s: %w", aws.ToString(e.Key), mapped(ctx, api)))
			}
		}
		return errors.Join(failed...)
	}
	if !unsupported(err) && (status(err) < 400 || status(err) > 499 || code(err) == "NoSuchBucket") {
		return fmt.Errorf("delete %d blobs: %w", len(ids), mapped(ctx, err))
	}
	// The store has no such request, or wants a checksum that nobody sends.
	for _, id := range ids {
		if err := s.Delete(ctx, id); err != nil {
			if ctx.Err() != nil {
				return errors.Join(append(failed, err)...)
			}
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}
