package auth

import (
	"bytes"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
)

func newTestHasher(t testing.TB, cost Cost) *hasher {
	t.Helper()
	h, err := newHasher(cost, 1, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestHash(t *testing.T) {
	h := newTestHasher(t, cheap)
	made, err := h.make(t.Context(), "secret")
	if err != nil {
		t.Fatal(err)
	}
	stored := made.String()
	if !strings.HasPrefix(stored, "$argon2id$v=19$m=64,t=1,p=1$") {
		t.Errorf("stored as %q", stored)
	}
	again, err := h.make(t.Context(), "secret")
	if err != nil || again.String() == stored {
		t.Errorf("the same password twice: %q, %v", again.String(), err)
	}
	for password, want := range map[string]bool{
		"secret": true, "secret ": false, "Secret": false, "": false, strings.Repeat("s", maxPassword+1): false,
	} {
		if got, err := h.check(t.Context(), stored, password); got != want || err != nil {
			t.Errorf("check(%.20q) = %v, %v", password, got, err)
		}
	}
	// No password is that of a user who has none.
	for _, password := range []string{"", "secret"} {
		if got, err := h.check(t.Context(), "", password); got || err != nil {
			t.Errorf("check without hash (%q) = %v, %v", password, got, err)
		}
	}
}

// A vector of the reference implementation's own tests:
// echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1 -l 32
func TestHashOfTheReference(t *testing.T) {
	const stored = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	h := newTestHasher(t, cheap)
	if ok, err := h.check(t.Context(), stored, "password"); !ok || err != nil {
		t.Errorf("check = %v, %v", ok, err)
	}
}

var badHashes = []string{
	"", "secret", "$", "$argon2id$", "$2a$10$abcdefghijklmnopqrstuv",
	"$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"$argon2id$v=16$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"$argon2id$v=19$m=64,t=1000000,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"$argon2id$v=19$m=64,t=0,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"$argon2id$v=19$m=64,t=1,p=0$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"$argon2id$v=19$m=64,t=1,p=1,x=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"$argon2id$v=19$m=64,t=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"$argon2id$v=19$t=1,m=64,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ=$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$",
	"$argon2id$v=19$m=64,t=1,p=1$$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
}

func TestBadHash(t *testing.T) {
	h := newTestHasher(t, cheap)
	for _, bad := range badHashes {
		if _, err := parseHash(bad); err == nil {
			t.Errorf("%q parsed", bad)
		}
		if bad == "" {
			continue
		}
		ok, err := h.check(t.Context(), bad, "password")
		if ok || err == nil || strings.Contains(err.Error(), "CTFh") {
			t.Errorf("check with %q: %v, %v", bad, ok, err)
		}
	}
}

func FuzzParseHash(f *testing.F) {
	for _, s := range badHashes {
		f.Add(s)
	}
	f.Add("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parseHash(s)
		if err != nil {
			return
		}
		if h.cost.Memory > maxMemory || h.cost.Time > maxTime || h.cost.Threads > maxThreads {
			t.Errorf("%q costs %+v", s, h.cost)
		}
		again, err := parseHash(h.String())
		if err != nil || again.cost != h.cost || !bytes.Equal(again.salt, h.salt) || !bytes.Equal(again.sum, h.sum) {
			t.Errorf("%q does not come back: %v", s, err)
		}
	})
}

func TestPasswordIsHashedAgainWhenCostRises(t *testing.T) {
	store := newStore(t)
	newService(t, Options{KV: store})
	dear := Cost{Memory: 128, Time: 1, Threads: 1}
	s := newService(t, Options{KV: store, Cost: dear})
	hashOf := func() string { return string(s.snapshot().users["admin"].record.Hash) }
	old := hashOf()
	if _, err := ask(t, s, basic("admin", "wrong password")); !errors.Is(err, ErrUnauthorized) {
		t.Fatal(err)
	}
	if hashOf() != old {
		t.Fatal("a wrong password changed the hash")
	}
	token := login(t, s, "admin", adminPassword).Token
	h, err := parseHash(hashOf())
	if err != nil || h.cost != dear {
		t.Errorf("cost after log-in %+v, %v", h.cost, err)
	}
	identity(t, s, "Bearer "+string(token))
	identity(t, s, basic("admin", adminPassword))
	version := s.snapshot().users["admin"].version
	login(t, s, "admin", adminPassword)
	if s.snapshot().users["admin"].version != version {
		t.Error("hashed again although the cost is the same")
	}
	cheaper := newService(t, Options{KV: store})
	login(t, cheaper, "admin", adminPassword)
	if cheaper.snapshot().users["admin"].version != version {
		t.Error("hashed again although the cost fell")
	}
}

func TestDefaultCost(t *testing.T) {
	// Two checks at once must leave most of 128 MiB to the rest of the server.
	if DefaultCost.Memory > 19<<10 || DefaultCost.Memory*DefaultCost.Time < 19<<10*2*9/10 {
		t.Errorf("%+v", DefaultCost)
	}
	if _, err := parseHash(hash{DefaultCost, make([]byte, saltSize), make([]byte, hashSize)}.String()); err != nil {
		t.Error(err)
	}
}

func BenchmarkPassword(b *testing.B) {
	h := newTestHasher(b, DefaultCost)
	made, err := h.make(b.Context(), "secret")
	if err != nil {
		b.Fatal(err)
	}
	stored := made.String()
	for b.Loop() {
		if ok, _ := h.check(b.Context(), stored, "secret"); !ok {
			b.Fatal("wrong")
		}
	}
}
