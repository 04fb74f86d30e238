package repo

import (
	"errors"
	"fmt"
	"time"

	"granary/kv"
)

// clocksApart is how far ahead of this node's clock the date of an earlier
// publication is believed. What is further ahead was written by a clock that was
// wrong and has been put right: keeping up with it would date everything into
// the future, which clients refuse.
const clocksApart = time.Minute

// dateTries is how many other publications may take a date at the same time.
const dateTries = 16

// dated is the latest date that a publication of a scope has, as stored at
// [kv.Space.Dated].
type dated struct {
	kv.Extra `cbor:"-"`
	At       int64 `cbor:"1,keyasint,omitempty"` // Unix seconds
}

// Date takes a date for the publication: of two that are made one after the
// other, on nodes whose clocks differ, the later one is not dated earlier. Many
// of one second have the same date: it must not run ahead of all clocks. It is
// written before anything that carries it.
func (w *pubWriter) Date(now time.Time) (time.Time, error) {
	key := w.repo.space.Dated(w.scope)
	table := kv.Table[dated]{Store: w.service.KV}
	last, version, err := table.Get(w.ctx, key, kv.Consistent)
	for try := 0; err == nil || errors.Is(err, kv.ErrNotFound); try++ {
		at := now.Unix()
		if last.At >= at && last.At <= now.Add(clocksApart).Unix() {
			w.pub.Dated, w.pub.Crowded = last.At, true
			return time.Unix(last.At, 0).UTC(), nil
		}
		last.At = at
		if err = w.claim(key, last, version); err == nil {
			w.pub.Dated = at
			return time.Unix(at, 0).UTC(), nil
		}
		if errors.Is(err, kv.ErrConflict) && try < dateTries {
			last, version, err = table.Found(w.ctx, key, err)
		}
	}
	return time.Time{}, fmt.Errorf("date a publication of %s/%s: %w", w.repo.Name, w.scope, err)
}

// claim writes a date over the one that was read. The write of the publication
// makes it durable.
func (w *pubWriter) claim(key kv.Key, d dated, old kv.Version) error {
	value, err := kv.Marshal(d)
	if err != nil {
		return err
	}
	return kv.PutIfLazy(w.ctx, w.service.KV, kv.Item{Key: key, Value: value, Version: kv.NewVersion()}, old)
}
