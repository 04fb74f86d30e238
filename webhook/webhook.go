// Package webhook tells addresses of changes, signed, and again until they have
// heard.
//
// What is to be told is written down first: a delivery lies in the store, open,
// until it was answered with a 2xx or has failed too often. The node on which
// something was committed makes its deliveries and tries them once; changes of
// the configuration are followed by one node, the holder of a lease, which also
// repeats what has failed, whichever node began it. So a delivery is made at
// least once, and a receiver that cares goes by its id.
//
// What is not written down is lost: commits in the moment in which their node
// dies, and changes of the configuration while no node holds the lease (some
// seconds after its holder died).
package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"granary/digest"
	"granary/events"
	"granary/kv"
	"granary/repo"
	"granary/repo/config"
)

// Artifacts is the topic of commits; the others are those of package events.
const Artifacts = "artifacts"

// Headers of a delivery.
const (
	SignatureHeader = "X-Granary-Signature-256" // sha256=<hex of the HMAC of the body>
	EventHeader     = "X-Granary-Event"
	DeliveryHeader  = "X-Granary-Delivery"
)

// Registry knows webhooks; [config.Registry] is one.
type Registry interface {
	Webhooks() []*config.Webhook
	Webhook(id string) (*config.Webhook, error)
}

// Config of a [Sender].
type Config struct {
	KV       kv.Store
	Registry Registry
	// Post sends a body to a URL, guarded, and returns the status of the
	// answer; upstream.Client has one.
	Post func(ctx context.Context, url string, header http.Header, body []byte) (int, error)
	// Feed is what changes. Optional.
	Feed *events.Feed
	// Leases lets one node follow the feed. Optional: this one is alone.
	Leases repo.Leaser
	Now    func() time.Time // optional
	// Wait is how long after each failed try the next one follows; after the
	// last the delivery has failed. Optional.
	Wait []time.Duration
	Log  *slog.Logger // optional
}

// queue is how many deliveries may wait in memory for their first try; what is
// beyond waits in the store.
const queue = 1024

// parallel is how many deliveries are made at once.
const parallel = 4

// Sender is used concurrently.
type Sender struct {
	Config
	commits chan repo.Commit
	jobs    chan job
	table   kv.Table[Delivery]

	mu      sync.Mutex
	dropped int // commits that nobody could be told of; guarded by mu
}

// job is a delivery to be tried.
type job struct {
	hook string
	d    Delivery
}

// New returns a sender; [Sender.Run] makes it work.
func New(c Config) *Sender {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Wait == nil {
		c.Wait = []time.Duration{
			5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour, 3 * time.Hour,
		}
	}
	return &Sender{
		Config: c, commits: make(chan repo.Commit, queue), jobs: make(chan job, queue),
		table: kv.Table[Delivery]{Store: c.KV, Expires: func(d Delivery) time.Time { return d.Created.Add(kept) }},
	}
}

// Committed takes a commit and never waits. More commits than can be told of
// are dropped, with a warning.
func (s *Sender) Committed(c repo.Commit) {
	if len(s.wanting(Artifacts, c.Repository.Name)) == 0 {
		return
	}
	select {
	case s.commits <- c:
	default:
		s.mu.Lock()
		s.dropped++
		s.mu.Unlock()
	}
}

func (s *Sender) wanting(topic, repository string) []*config.Webhook {
	var out []*config.Webhook
	for _, w := range s.Registry.Webhooks() {
		if w.Wants(topic, repository) {
			out = append(out, w)
		}
	}
	return out
}

// maxListed is how many paths one delivery names.
const maxListed = 100

// artifact is a file as a delivery names it.
type artifact struct {
	Path        string `json:"path"`
	Size        int64  `json:"size"`
	ContentType string `json:"content_type"`
	SHA256      string `json:"sha256"`
	ContentHash string `json:"content_hash"`
}

// committed is the event of a commit.
type committed struct {
	Type    string     `json:"type"`
	Repo    string     `json:"repo"`
	Format  string     `json:"format"`
	Created []artifact `json:"created"`
	Deleted []string   `json:"deleted"`
	// Total counts both, of which at most 100 each are listed.
	Total int `json:"total"`
}

const artifactsChanged = "artifacts_changed"

func describe(c repo.Commit) committed {
	out := committed{
		Type: artifactsChanged, Repo: c.Repository.Name, Format: c.Repository.Format, Created: []artifact{}, Deleted: []string{},
		Total: len(c.Put) + len(c.Deleted),
	}
	for _, rec := range c.Put[:min(len(c.Put), maxListed)] {
		path := rec.Path
		if path == "" {
			path = rec.Key()
		}
		out.Created = append(out.Created, artifact{path, rec.Size, rec.Type, rec.Sums.Hex(digest.SHA256), rec.Sums.Hex(digest.BLAKE3)})
	}
	out.Deleted = append(out.Deleted, c.Deleted[:min(len(c.Deleted), maxListed)]...)
	return out
}

// body is what is sent.
type body struct {
	ID        string          `json:"id"`
	Timestamp time.Time       `json:"timestamp"`
	Topic     string          `json:"topic"`
	Event     json.RawMessage `json:"event"`
}

// open writes down a delivery.
func (s *Sender) open(ctx context.Context, w *config.Webhook, topic, kind string, event json.RawMessage) (Delivery, error) {
	now := s.Now().UTC().Truncate(time.Millisecond)
	id, err := ulid.New(ulid.Timestamp(now), rand.Reader)
	if err != nil {
		return Delivery{}, fmt.Errorf("make the id of a delivery: %w", err)
	}
	d := Delivery{ID: strings.ToLower(id.String()), Event: kind, Created: now, Next: now.Add(claimed)}
	if d.Body, err = json.Marshal(body{d.ID, now, topic, event}); err != nil {
		return d, fmt.Errorf("write a delivery: %w", err)
	}
	if d.version, err = s.table.Create(ctx, kv.Delivery(w.ID, d.ID, false), d); err != nil {
		return d, fmt.Errorf("keep a delivery of webhook %s: %w", w.Name, err)
	}
	return d, nil
}

// Sign returns the value of [SignatureHeader].
func Sign(secret string, body []byte) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write(body) //nolint:errcheck // hash.Hash never returns an error
	return "sha256=" + hex.EncodeToString(m.Sum(nil))
}
