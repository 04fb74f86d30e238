package audit

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"granary/kv"
)

// ErrCursor is returned for a cursor that no page has given.
var ErrCursor = errors.New("audit: not a cursor")

// Filter says which entries are wanted; zero fields want all.
type Filter struct {
	Since, Until           time.Time // since ≤ time < until
	Username, Repo, Action string
	Limit                  int    // entries of a page; 0: 100
	Cursor                 string // Next of the page before
}

// Page is some entries, the newest first. Those of a node within a second may
// be out of order with another node's.
type Page struct {
	Entries []Entry
	Next    string // "" at the end
}

// maxRead is how many chunks one page looks at.
const maxRead = 2000

// at is a place in the log: everything before it was told.
type at struct {
	sort  string // of the chunk; "" is the end of the log
	index int    // entries of the chunk that are left
}

func (a at) String() string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(a.index) + " " + a.sort))
}

func parseAt(s string) (at, error) {
	if s == "" {
		return at{}, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return at{}, ErrCursor
	}
	number, sort, ok := strings.Cut(string(b), " ")
	n, err := strconv.Atoi(number)
	if _, valid := kv.AuditTime(sort); !ok || err != nil || n < 0 || !valid {
		return at{}, ErrCursor
	}
	return at{sort, n}, nil
}

// Query returns a page. An empty page with a Next is the end of nothing but
// what one call looks at.
func (l *Log) Query(ctx context.Context, f Filter) (Page, error) {
	from, err := parseAt(f.Cursor)
	if err != nil {
		return Page{}, err
	}
	if f.Limit <= 0 {
		f.Limit = 100
	}
	now := l.Now()
	oldest := now.Add(-l.Keep())
	if f.Since.After(oldest) {
		oldest = f.Since.Add(-maxSpan)
	}
	// Other nodes' clocks may be ahead.
	newest := now.Add(time.Hour)
	if !f.Until.IsZero() && f.Until.Before(newest) {
		newest = f.Until
	}
	if from.sort != "" {
		newest, _ = kv.AuditTime(from.sort)
	}
	r := reading{filter: f, from: from}
	for day := newest.UTC().Truncate(24 * time.Hour); !day.Before(oldest.UTC().Truncate(24 * time.Hour)); day = day.Add(-24 * time.Hour) {
		if done, err := r.day(ctx, l.KV, day); err != nil || done {
			return r.page, err
		}
	}
	return r.page, nil
}

// reading is a page being made.
type reading struct {
	filter Filter
	from   at
	page   Page
	chunks int
}

func (r *reading) day(ctx context.Context, store kv.Store, day time.Time) (done bool, err error) {
	to := ""
	if r.from.sort != "" {
		to = r.from.sort + "\x00" // the chunk itself is looked at again
	}
	for item, err := range store.Query(ctx, kv.AuditDay(day), "", to, kv.Reverse, kv.Consistent) {
		if err != nil {
			return false, fmt.Errorf("read the audit log: %w", err)
		}
		var c chunk
		if err := kv.Unmarshal(item.Value, &c); err != nil {
			return false, fmt.Errorf("audit log at %v: %w", item.Key, err)
		}
		left := len(c.Entries)
		if item.Sort == r.from.sort {
			left = min(left, r.from.index)
		}
		if r.chunk(c.Entries[:left], item.Sort) {
			return true, nil
		}
		if r.chunks++; r.chunks >= maxRead {
			r.page.Next = at{item.Sort, 0}.String()
			return true, nil
		}
	}
	return false, nil
}

// chunk adds the entries of a chunk, the last first, and tells whether the page
// is full.
func (r *reading) chunk(entries []record, sort string) bool {
	for i := len(entries) - 1; i >= 0; i-- {
		e := entries[i].entry(sort, i)
		if !r.filter.wants(&e) {
			continue
		}
		if len(r.page.Entries) == r.filter.Limit {
			r.page.Next = at{sort, i + 1}.String()
			return true
		}
		r.page.Entries = append(r.page.Entries, e)
	}
	return false
}

func (f *Filter) wants(e *Entry) bool {
	switch {
	case !f.Since.IsZero() && e.Time.Before(f.Since), !f.Until.IsZero() && !e.Time.Before(f.Until):
		return false
	case f.Username != "" && e.Username != f.Username, f.Repo != "" && e.Repo != f.Repo, f.Action != "" && e.Action != f.Action:
		return false
	}
	return true
}

func (r *record) entry(sort string, index int) Entry {
	return Entry{
		ID: sort + "-" + strconv.Itoa(index), Time: time.Unix(0, r.Time).UTC(), Username: r.Username, Credential: r.Credential, IP: r.IP,
		Method: r.Method, Path: r.Path, Action: r.Action, Repo: r.Repo, Status: r.Status, RequestID: r.RequestID, Count: r.Count,
	}
}
