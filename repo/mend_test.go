package repo_test

import (
	"bytes"
	"testing"
	"time"

	"granary/formats/all"
	"granary/repo/config"
	"granary/repo/repotest"
)

// Asking the references costs a read for each blob, and only while a store is
// suspect; a change of the store's settings does not end that.
func TestCostOfSuspicion(t *testing.T) {
	r := repotest.New(t, repotest.Options{Formats: all.Formats})
	c := r.Create("files", config.Hosted, "raw", nil)
	r.Put("files", "d/x", bytes.Repeat([]byte("x"), 64<<10))
	cost := func() int {
		r.KV.Reset()
		r.Get("files", "d/x")
		return r.KV.Reads()
	}
	before := cost()
	if err := r.Registry.SuspectStore(t.Context(), c.Store); err != nil {
		t.Fatal(err)
	}
	_, err := r.Registry.UpdateStore(t.Context(), "default", func(s *config.Store) error { s.IOSize = 512; return nil })
	if err != nil {
		t.Fatal(err)
	}
	if got := cost(); got != before+1 {
		t.Errorf("a read costs %d reads, %d of a suspect store", before, got)
	}
	s, _ := r.Registry.StoreByID(c.Store)
	if err := r.Registry.TrustStore(t.Context(), c.Store, s.Suspect.Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if got := cost(); got != before+1 {
		t.Errorf("a suspicion that was said again since has ended: %d reads", got)
	}
	if err := r.Registry.TrustStore(t.Context(), c.Store, s.Suspect); err != nil {
		t.Fatal(err)
	}
	if got := cost(); got != before {
		t.Errorf("a read costs %d reads, %d when the suspicion has ended", before, got)
	}
}
