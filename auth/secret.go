package auth

import (
	"fmt"
	"io"
	"log/slog"
)

// Mask is what stands for a secret wherever it would be shown.
const Mask = "********"

func mask(s fmt.State) { io.WriteString(s, Mask) } //nolint:errcheck // fmt ignores it as well

// Secret is a string that prints as [Mask] in every format and as JSON.
type Secret string

// Format implements fmt.Formatter for all verbs.
func (Secret) Format(s fmt.State, _ rune) { mask(s) }

// MarshalText keeps the secret out of JSON and out of logs made from it.
func (Secret) MarshalText() ([]byte, error) { return []byte(Mask), nil }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(Mask) }

// key is secret bytes as they are used; it prints as [Mask].
type key []byte

func (key) Format(s fmt.State, _ rune) { mask(s) }

// Package fmt can't ask unexported fields how they want to be shown, so that
// what has secrets in such fields is masked as a whole.

// Format shows nothing of a service.
func (*Service) Format(s fmt.State, _ rune) { mask(s) }

func (*snapshot) Format(s fmt.State, _ rune)  { mask(s) }
func (user) Format(s fmt.State, _ rune)       { mask(s) }
func (loadedKey) Format(s fmt.State, _ rune)  { mask(s) }
func (credential) Format(s fmt.State, _ rune) { mask(s) }
func (apiToken) Format(s fmt.State, _ rune)   { mask(s) }
func (loadedLDAP) Format(s fmt.State, _ rune) { mask(s) }

// Format shows nothing of the settings of a directory.
func (LDAP) Format(s fmt.State, _ rune) { mask(s) }

// Format shows nothing of a provider.
func (ProviderLogin) Format(s fmt.State, _ rune) { mask(s) }

// Sealer encrypts secrets before they are stored. Both methods may be called
// concurrently. Open fails for what was sealed with another key or changed.
type Sealer interface {
	Seal(plain []byte) ([]byte, error)
	Open(sealed []byte) ([]byte, error)
}
