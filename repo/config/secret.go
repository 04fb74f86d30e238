package config

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/fxamacker/cbor/v2"
)

// Mask stands for a secret wherever one is shown. Clients that send it back
// mean the secret that is stored.
const Mask = "********"

// ErrSealed is returned for a secret that was sealed with another key, or that
// nothing has opened.
var ErrSealed = errors.New("config: secret is sealed with another secret_key")

// Secret is a password or key within a stored document. It shows itself as
// [Mask] to fmt, slog and encoding/json. The zero value is no secret.
type Secret struct {
	// A function, since that is shown as an address where methods can't be
	// called: in unexported fields, where fmt would follow a pointer.
	in func() inside
}

// inside holds either form.
type inside struct {
	clear  string
	sealed []byte // set: clear is not known, or is to be written in this form
}

func hide(i inside) Secret { return Secret{func() inside { return i }} }

// NewSecret hides s; "" is no secret.
func NewSecret(s string) Secret {
	if s == "" {
		return Secret{}
	}
	return hide(inside{clear: s})
}

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.in == nil }

// Reveal returns the secret, "" if there is none. ErrSealed if it can't.
func (s Secret) Reveal() (string, error) {
	switch {
	case s.in == nil:
		return "", nil
	case s.in().sealed != nil:
		return "", ErrSealed
	}
	return s.in().clear, nil
}

// Equal reports whether both hide the same.
func (s Secret) Equal(o Secret) bool {
	if s.in == nil || o.in == nil {
		return s.in == nil && o.in == nil
	}
	return s.in().clear == o.in().clear && string(s.in().sealed) == string(o.in().sealed)
}

func (s Secret) String() string {
	if s.in == nil {
		return ""
	}
	return Mask
}

// GoString masks %#v.
func (s Secret) GoString() string { return fmt.Sprintf("config.Secret(%q)", s.String()) }

// Format masks every verb.
func (s Secret) Format(f fmt.State, verb rune) {
	if verb == 'v' && f.Flag('#') {
		fmt.Fprint(f, s.GoString())
		return
	}
	fmt.Fprint(f, s.String())
}

// LogValue masks the secret in logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON masks the secret; none is null.
func (s Secret) MarshalJSON() ([]byte, error) {
	if s.in == nil {
		return []byte("null"), nil
	}
	return []byte(`"` + Mask + `"`), nil
}

// MarshalText masks the secret, for YAML and the like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalCBOR writes the stored form: a byte string if sealed, else text.
func (s Secret) MarshalCBOR() ([]byte, error) {
	switch {
	case s.in == nil:
		return cbor.Marshal("")
	case s.in().sealed != nil:
		return cbor.Marshal(s.in().sealed)
	}
	return cbor.Marshal(s.in().clear)
}

// UnmarshalCBOR reads the stored form.
func (s *Secret) UnmarshalCBOR(data []byte) error {
	var v any
	if err := cbor.Unmarshal(data, &v); err != nil {
		return fmt.Errorf("decode secret: %w", err)
	}
	switch v := v.(type) {
	case nil:
		*s = Secret{}
	case string:
		*s = NewSecret(v)
	case []byte:
		*s = hide(inside{sealed: append([]byte{}, v...)})
	default:
		return fmt.Errorf("decode secret: it is a %T", v)
	}
	return nil
}

// seal returns the form to be stored. One that could not be opened stays as it is.
func (s Secret) seal(with Sealer) (Secret, error) {
	if with == nil || s.in == nil || s.in().sealed != nil {
		return s, nil
	}
	sealed, err := with.Seal([]byte(s.in().clear))
	if err != nil {
		return Secret{}, fmt.Errorf("seal secret: %w", err)
	}
	return hide(inside{sealed: sealed}), nil
}

// open returns the readable form; what can't be opened stays sealed.
func (s Secret) open(with Sealer) Secret {
	if with == nil || s.in == nil || s.in().sealed == nil {
		return s
	}
	text, err := with.Open(s.in().sealed)
	if err != nil {
		return s
	}
	return NewSecret(string(text))
}
