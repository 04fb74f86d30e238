package npm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"granary/formats"
)

// Call answers what is no packument, tarball or publish.
func (f *Format) Call(w http.ResponseWriter, r *http.Request, op formats.Op, view formats.View) error {
	switch op.Label {
	case labelPing:
		return reply(w, http.StatusOK, map[string]any{})
	case labelNoKeys:
		return reply(w, http.StatusOK, map[string]any{"keys": []any{}})
	case labelManifest:
		return callManifest(w, r, op, view)
	case labelTags:
		p, err := packumentOf(r, op, view)
		if err != nil {
			return err
		}
		return reply(w, http.StatusOK, p.tags)
	case labelSearch:
		return callSearch(w, r, view)
	case labelAudit:
		return callAudit(w, r, op, view)
	case labelWhoami, labelUser, labelLogin, labelLogout, labelTokens:
		return callAccount(w, r, op)
	}
	return fmt.Errorf("%s: %w", r.URL.Path, formats.ErrNotFound)
}

func reply(w http.ResponseWriter, status int, body any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	w.Header().Set("Content-Type", typeJSON)
	w.WriteHeader(status)
	w.Write(data) //nolint:errcheck // the client went away: the status has been sent
	return nil
}

// packumentOf reads a package, which must have a version.
func packumentOf(r *http.Request, op formats.Op, view formats.View) (*packument, error) {
	p, err := collect(op.Scope, view.Records(r.Context(), op.Scope))
	if err != nil {
		return nil, err
	}
	if len(p.order) == 0 {
		return nil, fmt.Errorf("%s: %w", op.Scope, formats.ErrNotFound)
	}
	return p, nil
}

// callManifest answers <package>/<version> and <package>/<tag>.
func callManifest(w http.ResponseWriter, r *http.Request, op formats.Op, view formats.View) error {
	p, err := packumentOf(r, op, view)
	if err != nil {
		return err
	}
	version := plain(op.Name)
	if of, ok := p.tags[op.Name]; ok {
		version = of
	}
	s := p.versions[version]
	if s == nil {
		return fmt.Errorf("%s@%s: %w", op.Scope, op.Name, formats.ErrNotFound)
	}
	if err := s.finish(formats.SiteOf(r.Context()).URL + "/" + s.record.Key()); err != nil {
		return fmt.Errorf("%w: record %s: %w", formats.ErrCorrupt, s.record.Key(), err)
	}
	return reply(w, http.StatusOK, s.manifest)
}

// maxAudit is the body of an audit in bytes, packed or not, and maxVerdict its
// answer.
const (
	maxAudit   = 16 << 20
	maxVerdict = 64 << 20
)

// callAudit asks the upstream what it knows of the packages. Where there is none
// that could be asked nothing is known.
func callAudit(w http.ResponseWriter, r *http.Request, op formats.Op, view formats.View) error {
	body, err := drain(r.Body, maxAudit, "audit")
	if err != nil {
		return err
	}
	q := formats.Question{Method: http.MethodPost, Path: "-/" + op.Name, Header: http.Header{}, Body: body}
	for _, name := range []string{"Content-Type", "Content-Encoding"} {
		if v := r.Header.Get(name); v != "" {
			q.Header.Set(name, v)
		}
	}
	verdict, err := asked(r, view, q)
	switch {
	case err == nil:
		w.Header().Set("Content-Type", typeJSON)
		_, err = w.Write(verdict)
		return err
	case !errors.Is(err, formats.ErrNotFound):
		return err
	case strings.HasSuffix(op.Name, "/bulk"):
		return reply(w, http.StatusOK, map[string]any{})
	}
	none := map[string]int{"info": 0, "low": 0, "moderate": 0, "high": 0, "critical": 0}
	return reply(w, http.StatusOK, map[string]any{
		"actions": []any{}, "advisories": map[string]any{}, "muted": []any{},
		"metadata": map[string]any{"vulnerabilities": none, "dependencies": 0, "devDependencies": 0, "optionalDependencies": 0, "totalDependencies": 0},
	})
}

// asked returns the upstream's JSON.
func asked(r *http.Request, view formats.View, q formats.Question) ([]byte, error) {
	answer, err := formats.Forward(r.Context(), view, q)
	if err != nil {
		return nil, err
	}
	defer answer.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(io.LimitReader(answer, maxVerdict+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxVerdict || !json.Valid(data) || !bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		return nil, fmt.Errorf("%w: the answer to %s is no JSON object of at most %d bytes", formats.ErrUpstream, q.Path, maxVerdict)
	}
	return data, nil
}
