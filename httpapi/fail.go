package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"os"

	"granary/formats"
	"granary/httpapi/content"
	"granary/httpapi/exchange"
	"granary/httpapi/fault"
	"granary/httpapi/registry"
)

// fail answers with what an error says. f may have a body of its own for it;
// nil where nobody knows what the repository is.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error, f formats.Format) {
	s.failAs(w, r, err, func(told fault.Fault) {
		if s.Registry != nil && registry.Owns(r.URL.Path) {
			registry.Fail(w, r, err, told)
			return
		}
		told.Prepare(w, r)
		if told.Status == http.StatusUnauthorized {
			s.challenge(exchange.From(r.Context()), w.Header(), r)
		}
		if f == nil {
			f = s.speaking(exchange.From(r.Context()), r)
		}
		if native, ok := f.(formats.Failer); ok && native.Fail(w, r, told.Status, told.Message) {
			return
		}
		if told.Status == http.StatusRequestEntityTooLarge {
			told.WriteText(w, r)
			return
		}
		told.WriteJSON(w, r)
	})
}

// failText answers with a line of text.
func (s *server) failText(w http.ResponseWriter, r *http.Request, err error) {
	s.failAs(w, r, err, func(told fault.Fault) { told.WriteText(w, r) })
}

// failAs answers with an error in the surface's way.
func (s *server) failAs(w http.ResponseWriter, r *http.Request, err error, write func(fault.Fault)) {
	x := exchange.From(r.Context())
	err = blame(x, err)
	told := fault.Of(err)
	s.note(r, err, told)
	if x.Status() != 0 || errors.Is(err, content.ErrAborted) {
		// Half an answer must not look like a whole one.
		panic(http.ErrAbortHandler)
	}
	// A client that closed its half of the connection only still reads.
	defer refuseBody(x, r)()
	write(told)
}

// blame puts an error of reading the request's body, which may have passed
// through any code, into terms of the request.
func blame(x *exchange.Exchange, err error) error {
	b := x.BodyError()
	var long *http.MaxBytesError
	switch {
	case b == nil && errors.Is(err, formats.ErrTruncated):
		// All of the body arrived: it is what it holds that is cut off.
		return &fault.Fault{Status: http.StatusBadRequest, Code: fault.BadRequest, Message: "the body ends in the middle of what it holds; nothing was stored"}
	case b == nil, errors.Is(err, formats.ErrTooLarge):
		return err
	case errors.Is(b, formats.ErrTruncated), errors.As(b, &long):
		return b
	case errors.Is(b, os.ErrDeadlineExceeded):
		return &fault.Fault{Status: http.StatusRequestTimeout, Code: fault.BadRequest, Message: "the body stopped arriving"}
	case x.ClientGone():
		return fmt.Errorf("read the body: %w", b)
	}
	return &fault.Fault{Status: http.StatusBadRequest, Code: fault.BadRequest, Message: "the body can't be read"}
}

// note logs what an operator should know. A client that goes away is none of
// it.
func (s *server) note(r *http.Request, err error, told fault.Fault) {
	x := exchange.From(r.Context())
	aborted := errors.Is(err, content.ErrAborted)
	if told.Status < 500 && !aborted || x.ClientGone() || errors.Is(err, formats.ErrTruncated) {
		return
	}
	log := s.Log.ErrorContext
	switch told.Status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusInsufficientStorage:
		log = s.Log.WarnContext
	}
	log(r.Context(), "request failed", "request_id", x.ID, "method", r.Method, "path", r.URL.Path,
		"status", told.Status, "cut_off", aborted, "error", err.Error())
}
