package all_test

import (
	"slices"
	"testing"

	"granary/formats/all"
)

func TestFormats(t *testing.T) {
	var names []string
	for _, f := range all.Formats(nil) {
		names = append(names, f.Name())
	}
	if want := slices.Compact(slices.Sorted(slices.Values(names))); !slices.Equal(names, want) {
		t.Errorf("got %q, want them in order and none twice", names)
	}
	for _, want := range []string{"raw", "golang", "cargo", "helm"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is missing", want)
		}
	}
}
