package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"granary/kv"
)

func TestSecretIsNeverShown(t *testing.T) {
	const word = "hunter2"
	r := Repository{Name: "mine", UpstreamAuth: &UpstreamAuth{Username: "u", Password: NewSecret(word)}}
	hidden := struct{ s Secret }{NewSecret(word)}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%X"} {
		fmt.Fprintf(&out, verb+"\n", r.UpstreamAuth.Password)
		fmt.Fprintf(&out, verb+"\n", *r.UpstreamAuth)
		fmt.Fprintf(&out, verb+"\n", r)
		fmt.Fprintf(&out, verb+"\n", hidden)
	}
	log := slog.New(slog.NewTextHandler(&out, nil))
	log.Info("x", "secret", r.UpstreamAuth.Password, "auth", *r.UpstreamAuth)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "secret", r.UpstreamAuth.Password, "auth", r.UpstreamAuth)
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(data)
	if text, err := r.UpstreamAuth.Password.MarshalText(); err != nil || string(text) != Mask {
		t.Errorf("MarshalText = %q, %v", text, err)
	}
	shown := out.String()
	for _, leak := range []string{word, fmt.Sprintf("%x", word), fmt.Sprintf("%X", word)} {
		if strings.Contains(shown, leak) {
			t.Errorf("%q is shown in:\n%s", leak, shown)
		}
	}
	if !strings.Contains(string(data), `"Password":"********"`) {
		t.Errorf("JSON = %s", data)
	}
	if none, err := json.Marshal(Secret{}); err != nil || string(none) != "null" {
		t.Errorf("JSON of none = %s, %v", none, err)
	}
}

func TestSecretStored(t *testing.T) {
	sealer, err := NewSealer("0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewSealer("0123456789abcdeg")
	if err != nil {
		t.Fatal(err)
	}
	in := &Store{ID: "s", Name: "s", SecretKey: NewSecret("hunter2")}
	key := kv.Config(kindStore, "s")
	sealing := Open(Options{KV: newStore(t), Sealer: sealer})
	item, err := encode(sealing, key, in)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(item.Value, []byte("hunter2")) {
		t.Error("stored in clear")
	}
	if clear, err := in.SecretKey.Reveal(); clear != "hunter2" || err != nil {
		t.Errorf("sealing has changed the document: %q, %v", clear, err)
	}
	for _, tt := range []struct {
		name   string
		sealer Sealer
		want   string
		err    error
	}{
		{"same key", sealer, "hunter2", nil},
		{"other key", other, "", ErrSealed},
		{"no key", nil, "", ErrSealed},
	} {
		r := Open(Options{KV: newStore(t), Sealer: tt.sealer})
		out, err := decode[Store](r, item, Store{})
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if got, err := out.SecretKey.Reveal(); got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: Reveal = %q, %v, want %q, %v", tt.name, got, err, tt.want, tt.err)
		}
		// Who can't open it doesn't lose it.
		again, err := encode(r, key, out)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		back, err := decode[Store](sealing, again, Store{})
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if got, err := back.SecretKey.Reveal(); got != "hunter2" || err != nil {
			t.Errorf("%s: after a rewrite Reveal = %q, %v", tt.name, got, err)
		}
	}
}

func TestSealerRefusesWhatItDidNotMake(t *testing.T) {
	s, err := NewSealer("0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := s.Seal([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := s.Open(bad); !errors.Is(err, ErrSealed) {
			t.Errorf("Open with byte %d changed = %v", i, err)
		}
		if _, err := s.Open(sealed[:i]); !errors.Is(err, ErrSealed) {
			t.Errorf("Open of %d bytes = %v", i, err)
		}
	}
	if _, err := NewSealer("too short"); err == nil {
		t.Error("a short key was taken")
	}
}

func TestWrongSecretKeyIsRefused(t *testing.T) {
	store := newStore(t)
	key := func(k string) func(*Options) {
		s, err := NewSealer(k)
		if err != nil {
			t.Fatal(err)
		}
		return func(o *Options) { o.Sealer = s }
	}
	open(t, store) // without a key: nothing is sealed yet
	open(t, store, key("0123456789abcdef"))
	open(t, store, key("0123456789abcdef"))
	other := Options{KV: store}
	key("fedcba9876543210")(&other)
	for _, o := range []Options{other, {KV: store}} {
		if err := Open(o).Load(t.Context()); !errors.Is(err, ErrSealed) {
			t.Errorf("Load with another key = %v, want ErrSealed", err)
		}
	}
}

func TestKeyRotation(t *testing.T) {
	const old, next = "0123456789abcdef", "fedcba9876543210"
	keys := func(k string, others ...string) func(*Options) {
		s, err := NewSealer(k, others...)
		if err != nil {
			t.Fatal(err)
		}
		return func(o *Options) { o.Sealer = s }
	}
	password := func(r *Registry) string {
		t.Helper()
		c, err := r.Repository(t.Context(), "mirror")
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.UpstreamAuth.Password.Reveal()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	store := newStore(t)
	r := open(t, store) // without a key: the secrets are in the clear
	id := withStore(t, r)
	_, err := r.CreateRepository(t.Context(), "mirror", func(c *Repository) error {
		c.Type, c.Format, c.Store, c.UpstreamURL = Cache, "raw", id, "https://upstream.example.com"
		c.UpstreamAuth = &UpstreamAuth{Username: "u", Password: NewSecret("hunter2")}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Reseal(t.Context()); !errors.Is(err, ErrNoKey) {
		t.Errorf("Reseal without a key: %v", err)
	}
	for _, step := range []func(*Options){keys(old), keys(old, next), keys(next, old)} {
		r = open(t, store, step)
		for range 2 {
			if n, err := r.Reseal(t.Context()); err != nil || n != 2 { // the repository and the sample
				t.Fatalf("Reseal wrote %d, %v", n, err)
			}
			if got := password(r); got != "hunter2" {
				t.Errorf("the secret is %q", got)
			}
		}
	}
	if got := password(open(t, store, keys(next))); got != "hunter2" {
		t.Errorf("with the new key alone: %q", got)
	}
	var o Options
	keys(old)(&o)
	o.KV = store
	if err := Open(o).Load(t.Context()); !errors.Is(err, ErrSealed) {
		t.Errorf("with the old key alone: %v", err)
	}
	if _, err := NewSealer(next, "short"); err == nil {
		t.Error("a short previous key was taken")
	}
}
