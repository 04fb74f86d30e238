package auth

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"

	"granary/kv"
)

// box is a Sealer as a configuration with a secret key has one.
type box struct{ key []byte }

func newBox(t *testing.T) *box {
	t.Helper()
	b := &box{key: make([]byte, chacha20poly1305.KeySize)}
	if _, err := rand.Read(b.key); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *box) Seal(plain []byte) ([]byte, error) {
	aead, err := chacha20poly1305.NewX(b.key)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return aead.Seal(nonce, nonce, plain, nil), nil
}

func (b *box) Open(sealed []byte) ([]byte, error) {
	aead, err := chacha20poly1305.NewX(b.key)
	if err != nil {
		return nil, err
	}
	if len(sealed) < aead.NonceSize() {
		return nil, errors.New("too short")
	}
	return aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], nil)
}

func TestSecretsAtRest(t *testing.T) {
	store := newStore(t)
	plain := newService(t, Options{KV: store}) // a start without a key
	token := "Bearer " + string(login(t, plain, "admin", adminPassword).Token)
	b := newBox(t)
	s := newService(t, Options{KV: store, Sealer: b})
	identity(t, s, token)
	mustCreate(t, s, NewUser{Username: "ann", Password: "secret"})
	if _, err := s.Rotate(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	identity(t, s, token)
	for _, k := range []kv.Key{userKey("ann"), jwtKey()} {
		item, err := store.Get(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range [][]byte{s.snapshot().users["ann"].secret, s.snapshot().current().secret} {
			if len(secret) != secretSize || bytes.Contains(item.Value, secret) {
				t.Errorf("%v holds a secret in the clear", k)
			}
		}
	}
	for name, sealer := range map[string]Sealer{"missing": nil, "wrong": newBox(t)} {
		other, err := Open(Options{KV: store, Cost: cheap, Sealer: sealer})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := other.Bootstrap(t.Context()); !errors.Is(err, ErrSealed) {
			t.Errorf("%s secret key: %v", name, err)
		}
	}
}

func TestNothingPrintsASecret(t *testing.T) {
	store := newStore(t)
	o := Options{KV: store, AdminPassword: "hunter2hunter2", Cost: cheap}
	s := newService(t, o)
	session := login(t, s, "admin", "hunter2hunter2")
	u := s.snapshot().users["admin"]
	secrets := []string{
		"hunter2hunter2", string(session.Token), string(u.record.Hash), string(u.secret), string(s.snapshot().current().secret),
		string(s.nobody), fmt.Sprint([]byte(u.secret)), fmt.Sprint([]byte(s.nobody)),
	}
	_, wrong := ask(t, s, basic("admin", "hunter2hunter2x"))
	_, forged := ask(t, s, "Bearer "+string(session.Token)+"x")
	_, short := s.CreateUser(t.Context(), NewUser{Username: "hunter2hunter2", Password: "12345"})
	values := []any{
		o, session, *u.record, u.record, u.record.Token, s, s.snapshot(), u, *u, s.snapshot().keys, s.snapshot().keys[0], s.verified, s.tokens,
		NewUser{Password: "hunter2hunter2"}, UserChange{Password: ptr(Secret("hunter2hunter2"))}, FirstStart{Password: "hunter2hunter2"},
		credential{secret: "hunter2hunter2"}, wrong, forged, identity(t, s, "Bearer "+string(session.Token)),
	}
	if short == nil || wrong == nil || forged == nil {
		t.Fatal("accepted")
	}
	for _, v := range values {
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		text := fmt.Sprintf("%v %+v %#v %s %q %x", v, v, v, v, v, v) + log.String()
		if j, err := json.Marshal(v); err == nil {
			text += string(j)
		}
		for _, secret := range secrets {
			if strings.Contains(text, secret) || strings.Contains(text, fmt.Sprintf("%x", secret)) {
				t.Errorf("%T prints a secret", v)
			}
		}
	}
}
