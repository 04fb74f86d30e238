package auth

import (
	"fmt"
	"testing"
	"time"
)

func TestLastUseOfAPIToken(t *testing.T) {
	c := newClock()
	store := newStore(t)
	s := newService(t, Options{Now: c.now, KV: store})
	other := newService(t, Options{Now: c.now, KV: store})
	ann := identity(t, s, basic("admin", adminPassword))
	_, text := mustToken(t, s, ann, NewAPIToken{})
	used := func(s *Service) time.Time {
		t.Helper()
		list, err := s.Tokens(t.Context(), ann, "admin")
		if err != nil || len(list) != 1 {
			t.Fatalf("%+v, %v", list, err)
		}
		return list[0].LastUsedAt
	}
	if got := used(s); !got.IsZero() {
		t.Errorf("never used, and yet at %v", got)
	}
	identity(t, s, "Bearer "+text)
	if got := used(s); !got.Equal(c.now()) {
		t.Errorf("on this node: %v, want %v", got, c.now())
	}
	if err := s.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := other.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := c.now()
	if got := used(other); !got.Equal(first) {
		t.Errorf("on another node: %v, want %v", got, first)
	}
	c.add(useGrain - time.Second)
	identity(t, s, "Bearer "+text)
	if n := len(s.uses.take()); n != 0 {
		t.Errorf("%d uses to write within a minute", n)
	}
	c.add(time.Second)
	identity(t, s, "Bearer "+text)
	if n := len(s.uses.take()); n != 1 {
		t.Errorf("%d uses to write after a minute, want 1", n)
	}
}

func TestSweepOfAPITokens(t *testing.T) {
	c := newClock()
	s := newService(t, Options{Now: c.now})
	withRole(t, s, "ann", "read", "*")
	ann := identity(t, s, basic("ann", "secret"))
	kept, _ := mustToken(t, s, ann, NewAPIToken{Name: "kept"})
	c.add(time.Second)
	mustToken(t, s, ann, NewAPIToken{Name: "expired", ExpiresAt: c.now().Add(time.Minute)})
	left := func() (names string) {
		t.Helper()
		if err := s.sweepTokens(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, tok := range s.tokensOf(s.snapshot(), "ann") {
			names += tok.record.Name + " "
		}
		return names + fmt.Sprint(len(s.snapshot().tokens))
	}
	c.add(endedFor)
	if got := left(); got != "kept expired 2" {
		t.Errorf("within the time that it is listed: %q", got)
	}
	c.add(2 * time.Minute)
	if got := left(); got != "kept 1" {
		t.Errorf("afterwards: %q", got)
	}
	if err := s.RevokeTokens(t.Context(), ann, "ann"); err != nil {
		t.Fatal(err)
	}
	if got := left(); got != "0" {
		t.Errorf("after a revocation of %s: %q", kept.ID, got)
	}
}
