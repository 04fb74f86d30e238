package auth

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// askFrom authenticates with a password from an address.
func askFrom(t *testing.T, s *Service, peer, name, password string) error {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = peer + ":4711"
	r.Header.Set("Authorization", basic(name, password))
	_, err := s.Authenticate(t.Context(), r)
	return err
}

func TestLockout(t *testing.T) {
	for _, name := range []string{"admin", "nobody"} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			s := newService(t, Options{Now: c.now})
			for i := range freeFailures {
				if err := askFrom(t, s, "192.0.2.1", name, "wrong"); !errors.Is(err, ErrUnauthorized) {
					t.Fatalf("failure %d: %v", i+1, err)
				}
			}
			for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
				var locked *LockedError
				err := askFrom(t, s, "192.0.2.1", name, adminPassword) // even if right
				if !errors.As(err, &locked) || locked.RetryAfter != want*time.Second {
					t.Fatalf("got %v, want a wait of %ds", err, want)
				}
				c.add(locked.RetryAfter)
				err = askFrom(t, s, "192.0.2.1", name, "wrong")
				if !errors.As(err, &locked) || locked.RetryAfter != min(2*want, 60)*time.Second {
					t.Fatalf("one more failure: %v, want a wait of %ds", err, min(2*want, 60))
				}
			}
			if err := askFrom(t, s, "192.0.2.2", name, "wrong"); !errors.Is(err, ErrUnauthorized) {
				t.Errorf("another address: %v", err)
			}
			if err := askFrom(t, s, "192.0.2.1", name+"x", "wrong"); !errors.Is(err, ErrUnauthorized) {
				t.Errorf("another user: %v", err)
			}
			if _, err := s.Login(t.Context(), "192.0.2.1", name, adminPassword); !errors.Is(err, ErrLocked) {
				t.Errorf("log-in: %v", err)
			}
		})
	}
}

func TestSuccessEndsLockout(t *testing.T) {
	c := newClock()
	s := newService(t, Options{Now: c.now})
	fail := func(n int) {
		t.Helper()
		for range n {
			if err := askFrom(t, s, "192.0.2.1", "admin", "wrong"); !errors.Is(err, ErrUnauthorized) {
				t.Fatal(err)
			}
		}
	}
	for range 2 { // the second time the password is remembered
		fail(freeFailures - 1)
		if err := askFrom(t, s, "192.0.2.1", "admin", adminPassword); err != nil {
			t.Fatal(err)
		}
	}
	fail(freeFailures)
	if err := askFrom(t, s, "192.0.2.1", "admin", adminPassword); !errors.Is(err, ErrLocked) {
		t.Fatalf("a remembered password during the wait: %v", err)
	}
	c.add(time.Second)
	if err := askFrom(t, s, "192.0.2.1", "admin", adminPassword); err != nil {
		t.Fatalf("after the wait: %v", err)
	}
	fail(freeFailures)
	if n := s.lockout.size.Load(); n != 1 || len(s.lockout.entries) != 1 {
		t.Errorf("%d entries", n)
	}
}

func TestLockoutHidesWhoseTokenItIs(t *testing.T) {
	s := newService(t, Options{})
	token := "Bearer " + string(login(t, s, "admin", adminPassword).Token)
	for range freeFailures + 1 {
		_ = askFrom(t, s, "192.0.2.1", "admin", "wrong") // the answers are TestLockout's
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "192.0.2.1:4711"
	r.Header.Set("Authorization", token)
	if _, err := s.Authenticate(t.Context(), r); err != nil {
		t.Errorf("a token of a user who is locked out: %v", err)
	}
}

func TestLockoutIsBounded(t *testing.T) {
	c := newClock()
	l := newLockout(c.now)
	for range freeFailures {
		_ = l.failed("old", "x")
	}
	for i := range maxLocks {
		if err := l.failed(fmt.Sprint(i), "x"); err != nil {
			t.Fatal(err)
		}
	}
	if len(l.entries) != maxLocks || l.recent.Len() != maxLocks || l.size.Load() != maxLocks {
		t.Errorf("%d, %d, %d entries; want %d", len(l.entries), l.recent.Len(), l.size.Load(), maxLocks)
	}
	if err := l.check("old", "x"); err != nil {
		t.Errorf("the oldest is still known: %v", err)
	}
}

func TestPairsDiffer(t *testing.T) {
	if newPair("ab", "c") == newPair("b", "ca") || newPair("a", "") == newPair("", "a") {
		t.Error("two pairs are one")
	}
}

func BenchmarkLockoutCheck(b *testing.B) {
	l := newLockout(time.Now)
	var name [8]byte
	for i := range uint64(maxLocks) {
		binary.BigEndian.PutUint64(name[:], i)
		_ = l.failed(string(name[:]), "x")
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := l.check("admin", "192.0.2.1"); err != nil {
			b.Fatal(err)
		}
	}
}
