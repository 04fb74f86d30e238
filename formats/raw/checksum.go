package raw

import (
	"fmt"
	"io"
	"net/http"
	"strconv"

	"granary/digest"
	"granary/formats"
)

// printChecksum writes what sha256sum and its relatives write and, with -c,
// read. A sum that was not computed when the file arrived is not found: BLAKE3
// and SHA-256 always are, others if the client sent them.
func printChecksum(w http.ResponseWriter, r *http.Request, op formats.Op, a digest.Algorithm, view formats.View) error {
	c, err := view.Open(r.Context(), formats.Op{Kind: formats.File, Label: labelFile, Scope: op.Scope, Name: op.Name})
	if err != nil {
		return fmt.Errorf("%s of %s: %w", a, op.Key(), err)
	}
	sum := c.Sums.Hex(a)
	if sum == "" {
		return fmt.Errorf("%s of %s: %w", a, op.Key(), formats.ErrNotFound)
	}
	line := sum + "  " + op.Name + "\n"
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(line)))
	if !c.Time.IsZero() {
		h.Set("Last-Modified", c.Time.UTC().Format(http.TimeFormat))
	}
	w.WriteHeader(http.StatusOK)
	// An error here is the client's going away: the status has been sent.
	io.WriteString(w, line) //nolint:errcheck // see above
	return nil
}
