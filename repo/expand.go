package repo

import (
	"bytes"
	"io"
)

// standIn is what Pub.URL puts before a path: an URL that can't exist, in
// letters that survive JSON, HTML and YAML quoting.
const standIn = "http://base.granary.invalid"

// Expand returns a writer that replaces the stand-ins of a document by the
// base URL of the repository that is asked, without a slash at its end. Close
// passes on what it holds back; it does not close w.
func Expand(w io.Writer, base string) io.WriteCloser {
	return &expander{w: w, base: []byte(base)}
}

type expander struct {
	w    io.Writer
	base []byte
	held []byte // a beginning of standIn that the last write ended with
}

func (e *expander) Write(p []byte) (int, error) {
	n := len(p)
	if len(e.held) > 0 {
		p = append(e.held, p...)
		e.held = nil
	}
	for {
		i := bytes.Index(p, []byte(standIn))
		if i < 0 {
			break
		}
		if err := e.pass(p[:i], e.base); err != nil {
			return 0, err
		}
		p = p[i+len(standIn):]
	}
	keep := prefixAtEnd(p)
	if err := e.pass(p[:len(p)-keep]); err != nil {
		return 0, err
	}
	e.held = append([]byte(nil), p[len(p)-keep:]...)
	return n, nil
}

func (e *expander) Close() error {
	held := e.held
	e.held = nil
	return e.pass(held)
}

func (e *expander) pass(parts ...[]byte) error {
	for _, p := range parts {
		if len(p) == 0 {
			continue
		}
		if _, err := e.w.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// prefixAtEnd returns the length of the longest end of p that standIn begins
// with.
func prefixAtEnd(p []byte) int {
	for n := min(len(p), len(standIn)-1); n > 0; n-- {
		if bytes.HasSuffix(p, []byte(standIn[:n])) {
			return n
		}
	}
	return 0
}
