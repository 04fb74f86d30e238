package repo

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/zeebo/blake3"

	"granary/formats"
	"granary/kv"
)

// checkEvery is how long a publication is served before the records are held
// against those it was made from. A crash between a record and its stamp heals
// within that time, or with the next write to the scope.
const checkEvery = 10 * time.Minute

// checks remembers when publications were last confirmed by this node.
type checks struct {
	service *Service
	seen    *otter.Cache[kv.Key, time.Time]
}

func newChecks(s *Service) *checks {
	return &checks{service: s, seen: otter.Must(&otter.Options[kv.Key, time.Time]{MaximumSize: 10_000})}
}

// due compares in the background where the last look is long ago.
func (c *checks) due(ctx context.Context, v view, scope, stamp string, key kv.Key, pub *publication) {
	now := c.service.Now()
	last, ok := c.seen.GetIfPresent(key)
	if !ok {
		last = time.Unix(0, pub.Made)
	}
	if now.Sub(last) < checkEvery {
		return
	}
	c.seen.Set(key, now)
	c.service.background(ctx, func(ctx context.Context) {
		if err := c.compare(ctx, v, scope, stamp, pub); err != nil {
			c.service.Log.WarnContext(ctx, "hold a publication against its records", "key", key.String(), "error", err)
		}
	})
}

// compare stamps the scope anew if its records are not those of the
// publication although the stamp is.
func (c *checks) compare(ctx context.Context, v view, scope, stamp string, pub *publication) error {
	f := newFingerprint()
	for rec, err := range v.Records(ctx, scope) {
		if err != nil {
			return err
		}
		f.add(rec)
	}
	if bytes.Equal(f.sum(), pub.Inputs) {
		return nil
	}
	if now, err := v.Stamp(ctx, scope); err != nil || now != stamp {
		return err
	}
	for _, t := range v.targets() {
		if h, ok := t.(*hosted); ok && h.moment == nil {
			if err := c.service.Records.Touch(ctx, h.repo.space, scope); err != nil {
				return err
			}
		}
	}
	return nil
}

// fingerprint is a digest of records as a renderer sees them.
type fingerprint struct{ h hash.Hash }

func newFingerprint() fingerprint { return fingerprint{blake3.New()} }

func (f fingerprint) add(r formats.Record) {
	for _, field := range [][]byte{[]byte(r.Name), []byte(r.Path), []byte(r.URL), r.Sums.BLAKE3, r.Sums.SHA256, r.Meta} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(field)))
		f.h.Write(n[:])  //nolint:errcheck // hash.Hash never returns an error
		f.h.Write(field) //nolint:errcheck // as above
	}
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(r.Time.UnixNano()))
	f.h.Write(n[:]) //nolint:errcheck // as above
}

func (f fingerprint) sum() []byte { return f.h.Sum(nil)[:16] }
