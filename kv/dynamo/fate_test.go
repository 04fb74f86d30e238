package dynamo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

func TestJudge(t *testing.T) {
	answered := func(status int, err error) error {
		return &smithy.OperationError{ServiceID: "DynamoDB", OperationName: "PutItem", Err: &smithyhttp.ResponseError{
			Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}}, Err: err,
		}}
	}
	coded := func(code string) error { return &smithy.GenericAPIError{Code: code} }
	for _, test := range []struct {
		name string
		err  error
		sent bool
		want fate
	}{
		{"success", nil, true, done},
		{"condition", answered(400, &types.ConditionalCheckFailedException{}), true, conflict},
		{"capacity", answered(400, &types.ProvisionedThroughputExceededException{}), true, throttled},
		{"account limit", answered(400, &types.RequestLimitExceeded{}), true, throttled},
		{"too many tables at once", answered(400, &types.LimitExceededException{}), true, throttled},
		{"throttling", answered(400, coded("ThrottlingException")), true, throttled},
		{"429 of a proxy", answered(429, coded("UnknownError")), true, throttled},
		{"429 without a body", answered(429, errors.New("no JSON")), true, throttled},
		{"another's transaction", answered(400, coded("TransactionConflictException")), true, throttled},
		{"internal", answered(500, &types.InternalServerError{}), true, faulty},
		{"internal behind a proxy", answered(400, coded("InternalServerError")), true, faulty},
		{"unavailable", answered(503, coded("ServiceUnavailable")), true, faulty},
		{"throttled with 503 may have been carried out", answered(503, coded("SlowDown")), true, faulty},
		{"502 of a proxy", answered(502, errors.New("no JSON")), true, faulty},
		{"validation", answered(400, coded("ValidationException")), true, refused},
		{"access", answered(400, coded("AccessDeniedException")), true, refused},
		{"table", answered(400, &types.ResourceNotFoundException{}), true, refused},
		{"redirect", answered(302, errors.New("no JSON")), true, refused},
		{"no JSON", answered(400, errors.New("no JSON")), true, refused},
		{"half an answer", answered(200, io.ErrUnexpectedEOF), true, broken},
		{"connection lost", fmt.Errorf("send: %w", io.EOF), true, broken},
		{"time-out on a connection", context.DeadlineExceeded, true, broken},
		{"no connection", errors.New("connection refused"), false, unsent},
		{"no credentials", context.DeadlineExceeded, false, unsent},
	} {
		if got := judge(test.err, test.sent, false); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

func TestBackoff(t *testing.T) {
	for n := range 70 {
		limit := min(backoffCap, backoffBase<<min(n, 10))
		var longest time.Duration
		for range 200 {
			d := backoff(n)
			if d <= 0 || d > limit {
				t.Fatalf("repetition %d waits %v, want 0 to %v", n, d, limit)
			}
			longest = max(longest, d)
		}
		if longest < limit/2 {
			t.Errorf("repetition %d waits %v at the most of 200 times, want up to %v", n, longest, limit)
		}
	}
}
