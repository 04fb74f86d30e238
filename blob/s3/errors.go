package s3

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"granary/blob"
)

// named are error codes with a name in the contract.
var named = map[string]error{
	"NoSuchKey":                      blob.ErrNotFound,
	"NotFound":                       blob.ErrNotFound,
	"PreconditionFailed":             blob.ErrExists,
	"EntityTooLarge":                 blob.ErrTooLarge,
	"QuotaExceeded":                  blob.ErrNoSpace,
	"InsufficientStorage":            blob.ErrNoSpace,
	"XMinioStorageFull":              blob.ErrNoSpace,
	"XMinioAdminBucketQuotaExceeded": blob.ErrNoSpace,
	"NoSuchBucket":                   blob.ErrUnavailable,
	"SlowDown":                       blob.ErrUnavailable,
	"Throttling":                     blob.ErrUnavailable,
	"ThrottlingException":            blob.ErrUnavailable,
	"RequestLimitExceeded":           blob.ErrUnavailable,
	"RequestTimeout":                 blob.ErrUnavailable,
	"InternalError":                  blob.ErrUnavailable,
	"ServiceUnavailable":             blob.ErrUnavailable,
	"OperationAborted":               blob.ErrUnavailable,
}

// mapped gives an error of the SDK its name in the contract.
func mapped(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	if name := nameOf(err); name != nil {
		return fmt.Errorf("%w: %w", name, err)
	}
	return err
}

func nameOf(err error) error {
	for _, known := range []error{blob.ErrNotFound, blob.ErrExists, blob.ErrNoSpace, blob.ErrTooLarge, blob.ErrUnavailable, blob.ErrLength} {
		if errors.Is(err, known) {
			return nil // it has one
		}
	}
	if name, ok := named[code(err)]; ok {
		return name
	}
	switch status := status(err); {
	case status == http.StatusNotFound && code(err) == "":
		return blob.ErrNotFound
	case status == http.StatusPreconditionFailed:
		return blob.ErrExists
	case status == http.StatusRequestEntityTooLarge:
		return blob.ErrTooLarge
	case status == http.StatusInsufficientStorage:
		return blob.ErrNoSpace
	case status == http.StatusNotImplemented:
		return nil
	case status == http.StatusTooManyRequests, status >= 500:
		return blob.ErrUnavailable
	}
	var send *smithyhttp.RequestSendError
	var silent *awshttp.ResponseTimeoutError
	var network net.Error
	if errors.As(err, &send) || errors.As(err, &silent) || errors.As(err, &network) {
		return blob.ErrUnavailable
	}
	return nil
}

// code returns the store's error code, "" if there is none.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// status returns the HTTP status of an error that is an answer, else 0.
func status(err error) int {
	var r *smithyhttp.ResponseError
	if errors.As(err, &r) {
		return r.HTTPStatusCode()
	}
	return 0
}

// unsupported tells whether a store does not know what it was asked.
func unsupported(err error) bool {
	switch code(err) {
	case "NotImplemented", "MethodNotAllowed", "UnknownOperation", "NotSupported", "XNotImplemented":
		return true
	}
	s := status(err)
	return s == http.StatusNotImplemented || s == http.StatusMethodNotAllowed
}
