package config

import (
	"errors"
	"fmt"
)

var (
	// ErrInvalid is what every [FieldError] is.
	ErrInvalid = errors.New("invalid")
	// ErrNotFound is returned for a repository or store that does not exist.
	ErrNotFound = errors.New("not found")
	// ErrExists is returned when the name of a new repository or store is taken.
	ErrExists = errors.New("already exists")
	// ErrInUse is returned for the deletion of a store that something needs.
	ErrInUse = errors.New("in use")
)

// FieldError tells which field breaks which rule.
type FieldError struct {
	Field   string // as REST clients spell it
	Message string // never holds a secret
	// Shape: the value is none that the field can have in any document, such
	// as an unknown enumeration constant or a missing field.
	Shape bool
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Message }

// Is makes errors.Is(err, ErrInvalid) true.
func (e *FieldError) Is(target error) bool { return target == ErrInvalid }

func invalid(field, format string, args ...any) error {
	return &FieldError{Field: field, Message: fmt.Sprintf(format, args...)}
}

func misshapen(field, format string, args ...any) error {
	return &FieldError{Field: field, Message: fmt.Sprintf(format, args...), Shape: true}
}
