package retention_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"granary/formats"
	"granary/formats/all"
	"granary/formats/formattest"
	"granary/gc/retention"
	"granary/repo/config"
	"granary/repo/repotest"
)

const day = 24 * time.Hour

type world struct {
	*repotest.Rig
	t *testing.T
	p *retention.Planner
}

func newWorld(t *testing.T, more ...formats.Format) *world {
	t.Helper()
	r := repotest.New(t, repotest.Options{Formats: func(now func() time.Time) []formats.Format {
		// What a test brings stands in the place of the format of that name.
		known := slices.DeleteFunc(all.Formats(now), func(f formats.Format) bool {
			return slices.ContainsFunc(more, func(m formats.Format) bool { return m.Name() == f.Name() })
		})
		return append(known, more...)
	}})
	return &world{r, t, &retention.Planner{Repositories: r.Service, Records: r.Records, Now: r.Clock.Now}}
}

// clean returns the paths that went, or would, and why.
func (w *world) clean(name string, dry bool) (retention.Result, map[string]string) {
	w.t.Helper()
	c := w.Open(name).Config
	rules, err := retention.RulesOf(c)
	if err != nil {
		w.t.Fatal(err)
	}
	gone := map[string]string{}
	res, err := w.p.Clean(w.t.Context(), c, rules, dry, func(it retention.Item) error {
		if it.Reason == "" {
			w.t.Errorf("%s has no reason", it.Path)
		}
		delete(gone, it.Path)
		if it.Drop {
			gone[it.Path] = it.Reason
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return res, gone
}

func (w *world) paths(name string) []string {
	w.t.Helper()
	var out []string
	for rec, err := range w.Open(name).Walk(w.t.Context(), "") {
		if err != nil {
			w.t.Fatal(err)
		}
		out = append(out, rec.Key())
	}
	slices.Sort(out)
	return out
}

func n(i int64) *int64 { return &i }

// A dry run lists, with reasons, just what goes; it removes nothing.
func TestRules(t *testing.T) {
	for _, c := range []struct {
		name   string
		rules  func(c *config.Repository)
		want   string // the files that go; file i is i and a half days old, those whose number is even were read today
		reason string
	}{
		{"age", func(c *config.Repository) { c.CleanupMaxAgeDays = n(6) }, "a/6 a/7 a/8 a/9 b/6 b/7 b/8 b/9", "published"},
		{"unread", func(c *config.Repository) { c.CleanupMaxUnaccessedDays = n(3) }, "a/3 a/5 a/7 a/9 b/3 b/5 b/7 b/9", "not read"},
		{"keep last", func(c *config.Repository) { c.CleanupKeepLast = n(8) }, "a/8 a/9 b/8 b/9", "beyond the last 8"},
		{"age, but the last", func(c *config.Repository) { c.CleanupMaxAgeDays, c.CleanupKeepLast = n(2), n(9) }, "a/9 b/9", "published"},
		{"age, but the latest", func(c *config.Repository) { c.CleanupMaxAgeDays, c.CleanupKeepLatest = n(6), true }, "a/6 a/7 a/8 b/6 b/7 b/8", "published"},
		{"names", func(c *config.Repository) { c.CleanupMaxAgeDays, c.CleanupNamePattern = n(6), "^b$" }, "b/6 b/7 b/8 b/9", "published"},
		{"versions", func(c *config.Repository) { c.CleanupMaxAgeDays, c.CleanupVersionPattern = n(6), "[78]" }, "a/7 a/8 b/7 b/8", "published"},
		{"both", func(c *config.Repository) { c.CleanupMaxAgeDays, c.CleanupMaxUnaccessedDays = n(8), n(5) }, "a/5 a/7 a/8 a/9 b/5 b/7 b/8 b/9", ""},
		{"none", func(*config.Repository) {}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.Create("r", config.Hosted, "raw", c.rules)
			for i := 9; i >= 0; i-- {
				w.Put("r", fmt.Sprintf("a/%d", i), []byte("x"))
				w.Put("r", fmt.Sprintf("b/%d", i), []byte("x"))
				w.Clock.Advance(day)
			}
			w.Clock.Advance(-day / 2)
			for i := 0; i < 10; i += 2 {
				w.Get("r", fmt.Sprintf("a/%d", i))
				w.Get("r", fmt.Sprintf("b/%d", i))
			}
			before := w.paths("r")
			dry, listed := w.clean("r", true)
			if got := strings.Join(slices.Sorted(maps.Keys(listed)), " "); got != c.want {
				t.Errorf("would go: %q, want %q", got, c.want)
			}
			for path, reason := range listed {
				if !strings.Contains(reason, c.reason) {
					t.Errorf("%s goes because %q", path, reason)
				}
			}
			if got := w.paths("r"); !slices.Equal(got, before) {
				t.Errorf("a dry run left %v", got)
			}
			done, gone := w.clean("r", false)
			if !maps.Equal(gone, listed) || done != dry {
				t.Errorf("went %v %+v, listed were %v %+v", gone, done, listed, dry)
			}
			want := slices.DeleteFunc(before, func(p string) bool { return listed[p] != "" })
			if got := w.paths("r"); !slices.Equal(got, want) {
				t.Errorf("left are %v, want %v", got, want)
			}
		})
	}
}

// A version goes as a whole, with what points to it, and documents follow.
func TestVersionsGoAsAWhole(t *testing.T) {
	w := newWorld(t)
	w.Create("go", config.Hosted, "golang", func(c *config.Repository) { c.CleanupKeepLast = n(1) })
	const module = "corp.example/Lib"
	for _, v := range []string{"v1.10.0", "v1.9.0"} {
		zip := formattest.Module(t, module, v, map[string]string{"go.mod": "module " + module + "\n"})
		h, body := formattest.Form(t,
			formattest.Part{Name: "module", Content: module}, formattest.Part{Name: "version", Content: v},
			formattest.Part{Name: "zip", File: "m.zip", Content: string(zip)})
		if _, _, err := w.Send(t.Context(), "go", http.MethodPost, "upload", body, "Content-Type", h.Get("Content-Type")); err != nil {
			t.Fatal(err)
		}
		w.Clock.Advance(day)
	}
	res, gone := w.clean("go", false)
	if len(gone) != 3 || res.Expired != 3 {
		t.Errorf("went %v %+v", gone, res)
	}
	if list := string(w.Get("go", "corp.example/!lib/@v/list")); list != "v1.9.0\n" {
		t.Errorf("list %q", list)
	}
	if latest := string(w.Get("go", "corp.example/!lib/@latest")); !strings.Contains(latest, "v1.9.0") {
		t.Errorf("latest %q", latest)
	}
}

// What is written between plan and removal stays.
func TestRemovalIsConditional(t *testing.T) {
	w := newWorld(t)
	w.Create("r", config.Hosted, "raw", func(c *config.Repository) { c.CleanupMaxAgeDays = n(1) })
	w.Put("r", "d/old", []byte("old"))
	w.Put("r", "d/renewed", []byte("old"))
	w.Clock.Advance(3 * day)
	c := w.Open("r").Config
	rules, err := retention.RulesOf(c)
	if err != nil {
		t.Fatal(err)
	}
	kept := ""
	res, err := w.p.Clean(t.Context(), c, rules, false, func(it retention.Item) error {
		if it.Path == "d/old" {
			w.Put("r", "d/renewed", []byte("new"))
		} else if !it.Drop {
			kept = it.Reason
		}
		return nil
	})
	if err != nil || res.Expired != 1 || !strings.Contains(kept, "written") {
		t.Errorf("%+v, %v, kept because %q", res, err, kept)
	}
	if got := string(w.Get("r", "d/renewed")); got != "new" {
		t.Errorf("renewed is %q", got)
	}
}

// linked is a format in which a file "roots/x" is a JSON list of the other files
// that live because of it, and so is each of these.
type linked struct{ formats.Format }

func (linked) Name() string { return "docker" }

func (linked) Rooted(rec formats.Record) bool { return rec.Scope == "roots" }

func (linked) Keeps(ctx context.Context, _ formats.Record, open func(context.Context) (io.ReadCloser, error)) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		r, err := open(ctx)
		if err != nil {
			yield("", err)
			return
		}
		defer r.Close() //nolint:errcheck // only read
		var keys []string
		if err := json.NewDecoder(r).Decode(&keys); err != nil {
			yield("", err)
			return
		}
		for _, k := range keys {
			if !yield(k, nil) {
				return
			}
		}
	}
}

func linkedWorld(t *testing.T, change func(c *config.Repository)) *world {
	w := newWorld(t, linked{rawFormat(t)})
	untagged := true
	w.Create("r", config.Hosted, "docker", func(c *config.Repository) {
		c.CleanupUntaggedManifests = &untagged
		c.ConflictPolicy = config.Allow
		if change != nil {
			change(c)
		}
	})
	return w
}

func rawFormat(t *testing.T) formats.Format {
	for _, f := range all.Formats(time.Now) {
		if f.Name() == "raw" {
			return f
		}
	}
	t.Fatal("no raw format")
	return nil
}

func TestUnneeded(t *testing.T) {
	w := linkedWorld(t, func(c *config.Repository) { c.CleanupMaxAgeDays = n(10) })
	w.Put("r", "roots/old", []byte(`["m/1"]`))
	w.Clock.Advance(20 * day)
	w.Put("r", "m/1", []byte(`["b/1","b/shared"]`))
	w.Put("r", "m/2", []byte(`["b/2","b/shared","all/"]`))
	w.Put("r", "m/3", []byte(`["b/3"]`))
	for _, b := range []string{"b/1", "b/2", "b/3", "b/shared", "all/x", "all/y", "none/x"} {
		w.Put("r", b, []byte("[]"))
	}
	w.Put("r", "roots/new", []byte(`["m/2","not/there"]`))
	w.Clock.Advance(2 * day)
	w.Put("r", "young/x", []byte("[]"))

	_, listed := w.clean("r", true)
	res, gone := w.clean("r", false)
	const want = "b/1 b/3 m/1 m/3 none/x roots/old"
	if got := strings.Join(slices.Sorted(maps.Keys(gone)), " "); got != want || !maps.Equal(gone, listed) {
		t.Errorf("went %q, want %q; listed %v", got, want, listed)
	}
	if res.Expired != 1 || res.Unneeded != 5 {
		t.Errorf("%+v", res)
	}
	if got := strings.Join(w.paths("r"), " "); got != "all/x all/y b/2 b/shared m/2 roots/new young/x" {
		t.Errorf("left %q", got)
	}
}

// A root that comes while its needs are being removed finds them again.
func TestNeededMeanwhile(t *testing.T) {
	for _, when := range []string{"before", "meanwhile"} {
		t.Run(when, func(t *testing.T) {
			w := linkedWorld(t, nil)
			w.Put("r", "m/1", []byte(`["b/1"]`))
			w.Put("r", "b/1", []byte(`[]`))
			w.Put("r", "b/2", []byte(`[]`))
			w.Put("r", "roots/x", []byte(`[]`))
			w.Clock.Advance(3 * day)
			c := w.Open("r").Config
			rules, err := retention.RulesOf(c)
			if err != nil {
				t.Fatal(err)
			}
			push := func() { w.Put("r", "roots/new", []byte(`["m/1"]`)) }
			pushed, gone := false, 0
			res, err := w.p.Clean(t.Context(), c, rules, false, func(it retention.Item) error {
				w.Clock.Advance(time.Second)
				if it.Drop {
					gone++
				}
				if !pushed && (when == "before" && it.Path == "roots/x" || when == "meanwhile" && gone == 1) {
					pushed = true
					push()
				}
				return nil
			})
			if err != nil || !pushed {
				t.Fatal(err)
			}
			if got := strings.Join(w.paths("r"), " "); got != "b/1 m/1 roots/new roots/x" || res.Unneeded != 1 {
				t.Errorf("left %q, %+v", got, res)
			}
		})
	}
}

// When it can't be told what a record keeps, nothing goes.
func TestUnreadableRootsKeepAll(t *testing.T) {
	w := linkedWorld(t, nil)
	w.Put("r", "roots/x", []byte(`no list`))
	w.Put("r", "b/1", []byte(`[]`))
	w.Clock.Advance(3 * day)
	c := w.Open("r").Config
	rules, err := retention.RulesOf(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.p.Clean(t.Context(), c, rules, false, func(retention.Item) error { return nil }); err == nil {
		t.Error("no error")
	}
	w.Get("r", "b/1")
}
