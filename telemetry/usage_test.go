package telemetry

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// shown is what a scrape sees.
func shown(t *testing.T, c prometheus.Collector) string {
	t.Helper()
	r := prometheus.NewRegistry()
	if err := r.Register(c); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	return w.Body.String()
}

func TestUsagesAreBounded(t *testing.T) {
	var list []Usage
	for i := range maxRepositories + 500 {
		list = append(list, Usage{fmt.Sprintf("r%04d", i), "raw", "hosted", "default", 1, int64(i)})
	}
	u := NewUsages(func() ([]Usage, error) { return list, nil }, func(err error) { t.Error(err) }, time.Now)
	if n := strings.Count(shown(t, u), "\ndepot_repository_"); n != 2*(maxRepositories+1) {
		t.Errorf("%d series", n)
	}
	rest := bounded(list)[maxRepositories]
	if rest.Artifacts != 500 || rest.Bytes != 499*500/2 || rest.Repository != Others {
		t.Errorf("the rest is %+v", rest)
	}
}

func TestUsagesAreReadNowAndThen(t *testing.T) {
	now, reads := time.Unix(1e9, 0), 0
	var fails, heard error
	u := NewUsages(func() ([]Usage, error) {
		reads++
		return []Usage{{"files", "raw", "hosted", "default", int64(reads), 7}}, fails
	}, func(err error) { heard = err }, func() time.Time { return now })
	is := func(artifacts, times int) {
		t.Helper()
		want := fmt.Sprintf(`depot_repository_artifacts{format="raw",repo="files",repo_type="hosted",store="default"} %d`+"\n", artifacts)
		if got := shown(t, u); !strings.Contains(got, want) {
			t.Errorf("%s lacks %s", got, want)
		}
		if reads != times {
			t.Errorf("read %d times, want %d", reads, times)
		}
	}
	is(1, 1)
	is(1, 1)
	now = now.Add(usageLasts)
	is(2, 2)
	now, fails = now.Add(usageLasts), errors.New("no")
	is(2, 3)
	if heard == nil {
		t.Error("the failure was not told")
	}
}
