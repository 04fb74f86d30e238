package docker_test

import (
	"bytes"
	"context"
	"io"
	"testing"

	"granary/formats"
	"granary/formats/docker"
)

// kept joins what a record keeps.
func kept(t *testing.T, rec formats.Record, data []byte) string {
	t.Helper()
	out := ""
	for key, err := range docker.New().Keeps(t.Context(), rec, func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data)), nil
	}) {
		if err != nil {
			t.Fatal(err)
		}
		out += key + " "
	}
	return out
}
