package auth

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrUnauthorized is returned when credentials are missing, wrong, expired
	// or not understood; 401. The error is a [*CredentialError].
	ErrUnauthorized = errors.New("unauthorized")
	// ErrForbidden is returned when a known identity may not do this; 403.
	ErrForbidden = errors.New("forbidden")
	// ErrNotFound is returned when no user or role has the name; 404.
	ErrNotFound = errors.New("not found")
	// ErrExists is returned when the name of a new user or role is taken; 409.
	ErrExists = errors.New("already exists")
	// ErrInvalid is returned for values that break a rule; 400. The error is a
	// [*FieldError].
	ErrInvalid = errors.New("invalid")
	// ErrLocked is returned when too many attempts of one user from one
	// address have failed; 429. The error is a [*LockedError].
	ErrLocked = errors.New("too many failed attempts")
	// ErrBusy is returned when too many passwords wait to be checked; 503.
	ErrBusy = errors.New("too many passwords are being checked")
	// ErrSealed is returned when stored secrets can't be opened because the
	// secret key is missing or is not the one they were sealed with.
	ErrSealed = errors.New("stored secrets can't be opened with this secret key")
)

// Method is the kind of credential, a label of metrics.
type Method string

// The kinds of credentials.
const (
	Anonymous Method = "anonymous" // none
	Basic     Method = "basic"
	JWT       Method = "jwt"
	Token     Method = "token"   // an API token, wherever it stood
	Unknown   Method = "unknown" // another scheme, or more than one
)

// CredentialError is [ErrUnauthorized] with its category.
type CredentialError struct {
	Method Method
	// Reason may be told to the client: it is the same for known and unknown
	// users and holds nothing that the client sent.
	Reason string
}

func (e *CredentialError) Error() string {
	return fmt.Sprintf("%v: %s: %s", ErrUnauthorized, e.Method, e.Reason)
}

// Is makes errors.Is(err, ErrUnauthorized) true.
func (e *CredentialError) Is(target error) bool { return target == ErrUnauthorized }

// FieldError is [ErrInvalid] with the field that broke a rule.
type FieldError struct {
	Field   string // as REST clients spell it
	Problem string
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Problem }

// Is makes errors.Is(err, ErrInvalid) true.
func (e *FieldError) Is(target error) bool { return target == ErrInvalid }

func invalid(field, format string, args ...any) error {
	return &FieldError{Field: field, Problem: fmt.Sprintf(format, args...)}
}

// LockedError is [ErrLocked] with the wait until the next attempt counts.
type LockedError struct {
	RetryAfter time.Duration // whole seconds, at least one
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("%v: try again in %v", ErrLocked, e.RetryAfter)
}

// Is makes errors.Is(err, ErrLocked) true.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }
