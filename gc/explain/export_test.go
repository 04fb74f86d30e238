package explain

import "testing"

// CheckCursor reads a cursor: what is taken comes back as it went in.
func CheckCursor(t *testing.T, cursor string) {
	p, ok := parsePlace(cursor)
	if !ok {
		return
	}
	if again, ok := parsePlace(p.String()); !ok || again != p {
		t.Errorf("%q is read as %+v, and then as %+v", cursor, p, again)
	}
}
