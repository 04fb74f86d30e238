package mem_test

import (
	"testing"

	"granary/blob"
	"granary/blob/blobtest"
	"granary/blob/mem"
)

func TestStore(t *testing.T) {
	blobtest.Test(t, func(t *testing.T) blob.Store {
		s := mem.New(mem.Config{Report: t.Errorf})
		t.Cleanup(s.Check)
		return s
	})
}
