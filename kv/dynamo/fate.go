package dynamo

import (
	"errors"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// fate is what became of one request.
type fate int

const (
	done      fate = iota
	conflict       // the condition did not hold: nothing written
	refused        // for a reason that stays: nothing written
	throttled      // for load: nothing written
	unsent         // no connection: nothing written
	unread         // refused, for a reason that was lost on the way: nothing written
	faulty         // the service answered that it failed: written or not
	broken         // no answer that could be read: written or not
)

func (f fate) String() string {
	return [...]string{"ok", "conflict", "refused", "throttled", "unsent", "unread", "faulty", "broken"}[f]
}

// final says that a repetition would end the same way.
func (f fate) final() bool { return f <= refused }

// uncertain says that the request may have been carried out.
func (f fate) uncertain() bool { return f >= faulty }

// throttleCodes are the errors that mean load, or a short-lived conflict with
// another client's transaction or with replication. See
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
var throttleCodes = map[string]bool{
	"LimitExceededException":                 true, // of the control plane
	"ProvisionedThroughputExceededException": true,
	"ReplicatedWriteConflictException":       true,
	"RequestLimitExceeded":                   true,
	"RequestThrottled":                       true,
	"RequestThrottledException":              true,
	"SlowDown":                               true,
	"ThrottledException":                     true,
	"Throttling":                             true,
	"ThrottlingException":                    true,
	"TooManyRequestsException":               true,
	"TransactionConflictException":           true,
	"TransactionInProgressException":         true,
}

// faultCodes are the errors of the service itself, some of which arrive with
// another status than 5xx through a proxy.
var faultCodes = map[string]bool{
	"InternalFailure":              true,
	"InternalServerError":          true,
	"InternalServerErrorException": true,
	"ServiceUnavailable":           true,
	"ServiceUnavailableException":  true,
}

// judge says what became of a request that ended with err; sent is whether a
// connection was ever given to it, cut whether its answer broke off.
func judge(err error, sent, cut bool) fate {
	if err == nil {
		return done
	}
	if _, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		return conflict
	}
	status := 0
	if r, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		status = r.HTTPStatusCode()
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		switch code := api.ErrorCode(); {
		case faultCodes[code] || status >= http.StatusInternalServerError:
			return faulty
		case throttleCodes[code] || status == http.StatusTooManyRequests:
			return throttled
		}
		return refused
	}
	switch {
	case status >= http.StatusInternalServerError:
		return faulty
	case status == http.StatusTooManyRequests:
		return throttled
	case status >= http.StatusBadRequest && cut:
		return unread
	case status >= http.StatusMultipleChoices:
		return refused // not the API's, such as a proxy's; the SDK could not read more
	case !sent:
		return unsent
	}
	return broken
}
