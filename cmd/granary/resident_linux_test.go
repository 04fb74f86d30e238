package main

import (
	"slices"
	"strings"
	"testing"
)

func TestUnchangedAreas(t *testing.T) {
	const smaps = `00400000-01407000 r-xp 00000000 fe:00 123 /opt/granary
Size:              16412 kB
Private_Dirty:         0 kB
Anonymous:             0 kB
01407000-02715000 r--p 01007000 fe:00 123 /opt/granary
Private_Dirty:         8 kB
Anonymous:             8 kB
02715000-02800000 r--p 01007000 fe:00 123 /opt/granary
Private_Dirty:         0 kB
Anonymous:             0 kB
02800000-02900000 rw-p 02315000 fe:00 123 /opt/granary
Private_Dirty:         0 kB
Anonymous:             0 kB
c000000000-c004000000 rw-p 00000000 00:00 0
Private_Dirty:      9000 kB
7f0000000000-7f0000001000 r--p 00000000 fe:00 9 /opt/other
Private_Dirty:         0 kB
`
	got, err := unchangedAreas(strings.NewReader(smaps), "/opt/granary")
	want := []area{{0x400000, 0x1407000}, {0x2715000, 0x2800000}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("areas %x, %v, want %x", got, err, want)
	}
	for _, bad := range []string{"", "x", "zz-yy r-xp 0 0 0 /opt/granary", "-", "9-1 r-xp 0 0 0 /opt/granary", "1-2 r-xp"} {
		if got, err := unchangedAreas(strings.NewReader(bad), "/opt/granary"); len(got) > 0 || err != nil {
			t.Errorf("%q gives %v, %v", bad, got, err)
		}
	}
}

// The program goes on as before.
func TestReleaseProgramPages(t *testing.T) {
	if err := releaseProgramPages(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Repeat("still here ", 3); !strings.HasPrefix(got, "still") {
		t.Error(got)
	}
}
