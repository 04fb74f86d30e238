package dynamo_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"granary/integration/component"
	"granary/kv"
	"granary/kv/dynamo"
	"granary/kv/kvtest"
)

// lossy is a network and a service that fail one request in three, half of
// them after they were carried out.
type lossy struct {
	backend string
	t       *testing.T
}

func (l lossy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	dice := rand.IntN(18)
	switch dice {
	case 0:
		throttle(w, "")
		return
	case 1, 2:
		drop(w, "")
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has given up
	}
	req, err := http.NewRequestWithContext(r.Context(), r.Method, l.backend+r.URL.Path, bytes.NewReader(body))
	if err != nil {
		l.t.Error(err)
		return
	}
	req.Header = r.Header.Clone()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		drop(w, "")
		return
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		drop(w, "")
		return
	}
	switch dice {
	case 3:
		drop(w, "")
	case 4:
		fault(w, "")
	case 5:
		if resp.StatusCode == http.StatusBadRequest {
			cutOff(w, "")
			return
		}
		half(w, "")
	default:
		for k, v := range resp.Header {
			w.Header()[k] = v
		}
		w.WriteHeader(resp.StatusCode)
		_, _ = w.Write(answer)
	}
}

// openLossy opens a table behind a lossy network.
func openLossy(t *testing.T, cfg dynamo.Config) *dynamo.Store {
	t.Helper()
	if err := dynamo.CreateTable(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(lossy{backend: cfg.Endpoint, t: t})
	t.Cleanup(proxy.Close)
	cfg.Endpoint, cfg.MaxRetries = proxy.URL, 40
	s, err := dynamo.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// TestLossyStore leaves out the counter: of competing writers each may see its
// write conflict with what followed it, and count again.
func TestLossyStore(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	endpoint := component.Dynalite(t)
	var c clock
	kvtest.Test(t, func(t *testing.T) kv.Store {
		cfg := config(endpoint)
		cfg.Now = c.now
		return openLossy(t, cfg)
	}, kvtest.Clock(c.now, c.advance), kvtest.Items(100), kvtest.Steps(4),
		kvtest.LostReplies(), kvtest.Without("Counter"))
}

// TestLossyWriter: one careful writer never gets a wrong answer.
func TestLossyWriter(t *testing.T) {
	onServices(t, func(t *testing.T, endpoint string) {
		s := openLossy(t, config(endpoint))
		stored := map[kv.Key]kv.Item{}
		check := func(what string, err, want error) {
			t.Helper()
			if !errors.Is(err, want) {
				t.Fatalf("%s: %v, want %v", what, err, want)
			}
		}
		for i := range 80 {
			key := kv.Key{Partition: "a", Sort: strconv.Itoa(rand.IntN(8))}
			old := stored[key]
			next := kv.Item{Key: key, Value: []byte(strconv.Itoa(i)), Version: kv.NewVersion()}
			switch rand.IntN(4) {
			case 0:
				check("write over a version that was not there", s.PutIf(t.Context(), next, kv.NewVersion()), kv.ErrConflict)
			case 1:
				if old.Version != "" {
					check("delete", s.DeleteIf(t.Context(), key, old.Version), nil)
					delete(stored, key)
				}
			default:
				check("write", s.PutIf(t.Context(), next, old.Version), nil)
				stored[key] = next
			}
			got, err := s.Get(t.Context(), key, kv.Consistent)
			if want := stored[key]; want.Version != got.Version || (want.Version == "") != errors.Is(err, kv.ErrNotFound) {
				t.Fatalf("step %d: %v is %q, %v, want %q", i, key, got.Version, err, want.Version)
			}
		}
		if stats := s.Stats(); stats.Unsettled == 0 || stats.Retries == 0 {
			t.Errorf("%+v: the network was not lossy", stats)
		}
	})
}
