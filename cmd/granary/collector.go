package main

import (
	"context"

	"granary/gc"
	"granary/gc/explain"
	"granary/kv"
	"granary/repo"
)

// collectRate is how many items a second this node reads for the collector at
// the most, so that requests do not wait for it.
const collectRate = 100_000

// openCollector prepares the collector's rounds.
func (n *node) openCollector() {
	n.collector = gc.Task{Observer: n.instruments.collections, Collector: gc.New(gc.Config{
		KV: n.kv, Registry: n.registry, Store: n.repos.Store, Records: n.records, Refs: n.repos.Refs,
		Upload: repo.ReadUpload, SweepUploads: n.repos.SweepUploads, Now: wallClock, Embedded: kv.TraitsOf(n.kv).Embedded, Ready: n.member.WriteReady, Rate: collectRate, Log: n.log,
	})}
}

// explainer tells why blobs are kept.
func (n *node) explainer() *explain.Explainer {
	return explain.New(explain.Config{
		KV: n.kv, Registry: n.registry, Store: n.repos.Store, Upload: repo.ReadUpload, Pending: n.collector.Pending, Now: wallClock,
	})
}

// storeUsage is what the collector's last round has counted.
func (n *node) storeUsage(ctx context.Context, store string) (blobs, bytes int64, ok bool) {
	kept, ok, err := n.collector.Usage(ctx, store)
	if err != nil {
		n.log.WarnContext(ctx, "look what a store keeps", "store", store, "error", err)
	}
	return kept.Blobs, kept.Bytes, ok
}
