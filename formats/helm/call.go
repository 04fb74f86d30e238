package helm

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"granary/formats"
)

// Call answers the reading part of ChartMuseum's API: all charts, one chart, one
// version.
func (Format) Call(w http.ResponseWriter, r *http.Request, op formats.Op, view formats.View) error {
	charts, _, err := collect(view.Records(r.Context(), ""), func(name string) bool { return op.Path == "" || name == op.Path })
	if err != nil {
		return err
	}
	if op.Path == "" {
		all := make(map[string][]map[string]any, len(charts))
		for name, versions := range charts {
			if all[name], err = describe(versions); err != nil {
				return err
			}
		}
		return answer(w, r, http.StatusOK, all)
	}
	versions, err := describe(charts[op.Path])
	if err != nil {
		return err
	}
	if op.Name == "" && len(versions) > 0 {
		return answer(w, r, http.StatusOK, versions)
	}
	for i, e := range charts[op.Path] {
		if e.rec.Name == op.Name {
			return answer(w, r, http.StatusOK, versions[i])
		}
	}
	return fmt.Errorf("chart %s: %w", op.Path, formats.ErrNotFound)
}

// describe is what the index says of versions.
func describe(versions []entry) ([]map[string]any, error) {
	list := make([]map[string]any, 0, len(versions))
	for _, e := range versions {
		raw, err := e.values()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", formats.ErrCorrupt, err)
		}
		v := make(map[string]any, len(raw)+3)
		for key, value := range raw {
			v[key] = jsonable(value)
		}
		v["urls"] = []string{e.location()}
		if !e.rec.Time.IsZero() {
			v["created"] = e.rec.Time.Format(time.RFC3339Nano)
		}
		if sum := e.rec.Sums.SHA256; len(sum) > 0 {
			v["digest"] = hex.EncodeToString(sum)
		}
		list = append(list, v)
	}
	return list, nil
}

// jsonable turns what YAML has and JSON has not into text.
func jsonable(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			v[key] = jsonable(value)
		}
	case map[any]any:
		m := make(map[string]any, len(v))
		for key, value := range v {
			m[fmt.Sprint(key)] = jsonable(value)
		}
		return m
	case []any:
		for i, value := range v {
			v[i] = jsonable(value)
		}
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Sprint(v)
		}
	}
	return v
}

// answer writes a value as JSON.
func answer(w http.ResponseWriter, r *http.Request, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("%w: write an answer: %w", formats.ErrCorrupt, err)
	}
	h := w.Header()
	h.Set("Content-Type", typeJSON)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(body) //nolint:errcheck // the client went away; the status has been sent
	}
	return nil
}

// Answer says that a write succeeded: in ChartMuseum's words below its API, by
// the status alone to who put a file.
func (Format) Answer(w http.ResponseWriter, r *http.Request, op formats.Op, _ []formats.Record) bool {
	switch op.Label {
	case labelPush, labelPushProv:
		return answer(w, r, http.StatusCreated, map[string]bool{"saved": true}) == nil
	case labelUpload:
		return answer(w, r, http.StatusOK, map[string]bool{"saved": true}) == nil
	case labelChart, labelProv:
		w.WriteHeader(http.StatusCreated)
		return true
	}
	return false
}

// Fail answers below ChartMuseum's API in its form, which its clients show.
func (Format) Fail(w http.ResponseWriter, r *http.Request, status int, message string) bool {
	if !strings.Contains(r.URL.Path, "/"+apiCharts) && !strings.HasSuffix(r.URL.Path, "/"+apiProv) {
		return false
	}
	return answer(w, r, status, map[string]string{"error": message}) == nil
}
