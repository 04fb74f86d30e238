package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"granary/kv"
	"granary/kv/mem"
)

type rig struct {
	*Log
	t     *testing.T
	clock time.Time
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, clock: time.Date(2026, 11, 22, 23, 59, 0, 0, time.UTC)}
	now := func() time.Time { return r.clock }
	r.Log = New(Config{KV: mem.New(mem.Options{Now: now, Misuse: func(err error) { t.Error(err) }}), Node: "n1", Now: now})
	return r
}

func (r *rig) flush() {
	r.t.Helper()
	if err := r.Flush(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// all reads every page and returns the request ids.
func (r *rig) all(f Filter) []string {
	r.t.Helper()
	var ids []string
	for pages := 0; ; pages++ {
		p, err := r.Query(r.t.Context(), f)
		if err != nil {
			r.t.Fatal(err)
		}
		if f.Limit > 0 && len(p.Entries) > f.Limit || pages > 1000 {
			r.t.Fatalf("%d entries on page %d", len(p.Entries), pages)
		}
		for _, e := range p.Entries {
			ids = append(ids, e.RequestID)
		}
		if f.Cursor = p.Next; p.Next == "" {
			return ids
		}
	}
}

func TestLog(t *testing.T) {
	r := newRig(t)
	var want []string // newest first
	// Over midnight, in chunks of different sizes.
	for i := range 1000 {
		id := fmt.Sprint(i)
		r.Add(Entry{Time: r.clock, Username: []string{"ann", "bob"}[i%2], Repo: []string{"a", "b", "c"}[i%3], Action: "upload", Status: 201, RequestID: id})
		want = slices.Insert(want, 0, id)
		r.clock = r.clock.Add(time.Second / 4)
		if i%97 == 0 {
			r.flush()
		}
	}
	r.flush()
	only := func(keep func(i int) bool) (ids []string) {
		for i := 999; i >= 0; i-- {
			if keep(i) {
				ids = append(ids, fmt.Sprint(i))
			}
		}
		return ids
	}
	start := time.Date(2026, 11, 22, 23, 59, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		f    Filter
		want []string
	}{
		"all":             {Filter{Limit: 10_000}, want},
		"in small pages":  {Filter{Limit: 7}, want},
		"by default":      {Filter{}, want},
		"of a user":       {Filter{Username: "ann", Limit: 13}, only(func(i int) bool { return i%2 == 0 })},
		"in a repository": {Filter{Repo: "b", Limit: 400}, only(func(i int) bool { return i%3 == 1 })},
		"of an action":    {Filter{Action: "none"}, nil},
		"since":           {Filter{Since: start.Add(100 * time.Second)}, only(func(i int) bool { return i >= 400 })},
		"until":           {Filter{Until: start.Add(100 * time.Second)}, only(func(i int) bool { return i < 400 })},
		"between":         {Filter{Since: start.Add(50 * time.Second), Until: start.Add(51 * time.Second), Limit: 1}, only(func(i int) bool { return i >= 200 && i < 204 })},
	} {
		if got := r.all(tt.f); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %d entries %.60q, want %d %.60q", name, len(got), got, len(tt.want), tt.want)
		}
	}
	for _, cursor := range []string{"x", "!", "MSB4", "LTEgMDAwMA"} {
		if _, err := r.Query(t.Context(), Filter{Cursor: cursor}); !errors.Is(err, ErrCursor) {
			t.Errorf("cursor %q: %v", cursor, err)
		}
	}
}

// One write a second, however much happens.
func TestWritesAreFew(t *testing.T) {
	r := newRig(t)
	for range 400 {
		r.Add(Entry{Time: r.clock, Path: strings.Repeat("x", 5000), Username: strings.Repeat("y", 5000), Status: 201})
	}
	r.flush()
	n := 0
	for item, err := range r.KV.Query(t.Context(), kv.AuditDay(r.clock), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		if len(item.Value) > kv.MaxValue || item.Expires.IsZero() {
			t.Errorf("%d bytes, expires %v", len(item.Value), item.Expires)
		}
		n++
	}
	if n == 0 || n > 3 {
		t.Errorf("%d writes", n)
	}
}

func TestRefusalsAreBounded(t *testing.T) {
	r := newRig(t)
	for range maxRefused + 1000 {
		r.Add(Entry{Time: r.clock, Status: 401})
	}
	r.Add(Entry{Time: r.clock, Status: 201, RequestID: "write"})
	r.flush()
	p, err := r.Query(t.Context(), Filter{Limit: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Entries) != maxRefused+2 || p.Entries[0].Count != 1000 || p.Entries[1].RequestID != "write" {
		t.Errorf("%d entries, the last %+v", len(p.Entries), p.Entries[0])
	}
}

// failing fails writes while on.
type failing struct {
	kv.Store
	on bool
}

func (f *failing) PutIf(ctx context.Context, item kv.Item, old kv.Version) error {
	if f.on {
		return kv.ErrThrottled
	}
	return f.Store.PutIf(ctx, item, old)
}

func TestEntriesOutliveAFailingStore(t *testing.T) {
	r := newRig(t)
	store := &failing{r.KV, true}
	r.KV = store
	for i := range maxPending + 5 {
		r.Add(Entry{Time: r.clock, Status: 201, RequestID: fmt.Sprint(i)})
	}
	if err := r.Flush(t.Context()); !errors.Is(err, kv.ErrThrottled) {
		t.Fatal(err)
	}
	store.on = false
	r.flush()
	if got := r.all(Filter{Limit: 10_000}); len(got) != maxPending {
		t.Errorf("%d entries, want %d", len(got), maxPending)
	}
}

// A path that is no text, or is cut within a character, leaves the log readable.
func TestPathsThatAreNotText(t *testing.T) {
	r := newRig(t)
	long := "/repository/files/" + strings.Repeat("日本", 100)
	for _, path := range []string{"/repository/files/\xff\xfe", long, "x" + long, "xx" + long} {
		r.Add(Entry{Time: r.clock, Status: 201, Path: path, Username: path, Repo: "files\xe9"})
	}
	r.flush()
	page, err := r.Query(t.Context(), Filter{})
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Entries) != 4 || page.Entries[3].Path != "/repository/files/\uFFFD" || page.Entries[3].Repo != "files\uFFFD" {
		t.Errorf("got %+v", page.Entries)
	}
	for _, e := range page.Entries[:3] {
		if cut, whole := strings.CutSuffix(e.Path, "…"); !whole || !strings.Contains("xx"+long, cut) || len(cut) < maxText-3 {
			t.Errorf("path %q", e.Path)
		}
	}
}

func TestEntriesExpire(t *testing.T) {
	r := newRig(t)
	r.Add(Entry{Time: r.clock, Status: 201, RequestID: "old"})
	r.flush()
	r.clock = r.clock.Add(89 * 24 * time.Hour)
	r.Add(Entry{Time: r.clock, Status: 201, RequestID: "new"})
	r.flush()
	if got := r.all(Filter{}); !slices.Equal(got, []string{"new", "old"}) {
		t.Errorf("before: %q", got)
	}
	r.clock = r.clock.Add(2 * 24 * time.Hour)
	if got := r.all(Filter{}); !slices.Equal(got, []string{"new"}) {
		t.Errorf("afterwards: %q", got)
	}
}

// What is added while it runs is written when it ends.
func TestRunWritesTheRest(t *testing.T) {
	r := newRig(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { r.Run(ctx); close(done) }()
	r.Add(Entry{Time: r.clock, Status: 201, RequestID: "last"})
	stop()
	<-done
	if got := r.all(Filter{}); !slices.Equal(got, []string{"last"}) {
		t.Errorf("got %q", got)
	}
}
