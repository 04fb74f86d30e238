package fault

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// Body is the error body of every JSON surface.
type Body struct {
	Error struct {
		Code    string `json:"code" doc:"One of a fixed set of upper-case names."`
		Message string `json:"message" doc:"A sentence for people."`
	} `json:"error"`
}

// Body returns the body of the answer.
func (f Fault) Body() Body {
	var b Body
	b.Error.Code, b.Error.Message = f.Code, f.Message
	return b
}

// Prepare makes the headers ready for an error: what a handler said of the
// content that it could not send is taken back.
func (f Fault) Prepare(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	for k := range h {
		if k == "Etag" || k == "Last-Modified" || k == "Accept-Ranges" || k == "Location" || k == "Vary" ||
			strings.HasPrefix(k, "Content-") && k != "Content-Security-Policy" || strings.HasPrefix(k, "X-Checksum-") || k == "X-Blob-Id" {
			delete(h, k)
		}
	}
	h.Set("Cache-Control", "no-store")
	for k, v := range f.Header {
		h[k] = v
	}
	if f.RetryAfter > 0 {
		h.Set("Retry-After", itoa(int64((f.RetryAfter+time.Second-1)/time.Second)))
	}
	if f.Status == http.StatusUnauthorized {
		Challenge(h, r)
	}
}

// Challenge asks for Basic credentials, unless the client uses another scheme
// or is a script in a browser, which would pop up a dialogue.
func Challenge(h http.Header, r *http.Request) {
	scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") || strings.EqualFold(r.Header.Get("X-Requested-With"), "XMLHttpRequest") {
		return
	}
	if len(h["Www-Authenticate"]) == 0 { // else it was called before, and others added theirs
		h.Set("Www-Authenticate", `Basic realm="granary"`)
	}
}

// WriteJSON answers with the error body.
func (f Fault) WriteJSON(w http.ResponseWriter, r *http.Request) {
	f.Prepare(w, r)
	body, err := json.Marshal(f.Body())
	if err != nil {
		body = []byte(`{"error":{"code":"INTERNAL_ERROR","message":"internal error"}}`)
	}
	body = append(body, '\n')
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(f.Status)
	if r.Method != http.MethodHead {
		w.Write(body) //nolint:errcheck // the client went away; the status has been sent
	}
}

// WriteText answers with a line of text.
func (f Fault) WriteText(w http.ResponseWriter, r *http.Request) {
	f.Prepare(w, r)
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(f.Message)+1))
	w.WriteHeader(f.Status)
	if r.Method != http.MethodHead {
		w.Write([]byte(f.Message + "\n")) //nolint:errcheck // as above
	}
}

// WriteEmpty answers with a status alone.
func (f Fault) WriteEmpty(w http.ResponseWriter, r *http.Request) {
	f.Prepare(w, r)
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(f.Status)
}
