package gc_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"

	"granary/digest"
	"granary/formats"
)

// ledger is a format whose scopes have one document, which lists their files
// with their digests.
type ledger struct{}

var _ formats.Indexer = ledger{}

func (ledger) Name() string { return "ledger" }

func (ledger) Route(r formats.Req) (formats.Op, bool) {
	scope, name, ok := strings.Cut(r.Path, "/")
	op := formats.Op{Label: "file", Scope: scope, Name: name}
	switch {
	case r.Method == http.MethodPut:
		op.Kind = formats.Write
	case r.Method == http.MethodDelete:
		op.Kind = formats.Delete
	case name == "index":
		op.Kind, op.Label, op.Name, op.Path = formats.Doc, "index", "", "index"
	default:
		op.Kind = formats.File
	}
	return op, ok
}

func (ledger) Accept(ctx context.Context, op formats.Op, up *formats.Upload, tx formats.Tx) error {
	if op.Kind == formats.Delete {
		tx.Delete(op.Scope, op.Name)
		return nil
	}
	b, err := tx.Blob(ctx, up.Body)
	if err == nil {
		tx.Put(formats.Record{Scope: op.Scope, Name: op.Name, Type: "text/plain"}, b)
	}
	return err
}

func (ledger) Entry(scope string) string { return scope + "/index" }

// Parse is not asked: no cache is of this format.
func (ledger) Parse(ctx context.Context, scope string, src formats.Source) iter.Seq2[formats.Record, error] {
	return func(yield func(formats.Record, error) bool) {
		r, err := src.Open(ctx, ledger{}.Entry(scope), digest.Sums{})
		if err != nil {
			yield(formats.Record{}, err)
			return
		}
		defer r.Close()
		for lines := bufio.NewScanner(r); lines.Scan(); {
			name, _, _ := strings.Cut(lines.Text(), " ")
			if !yield(formats.Record{Scope: scope, Name: name}, nil) {
				return
			}
		}
	}
}

func (ledger) Render(_ context.Context, _ string, recs iter.Seq2[formats.Record, error], pub formats.Pub) error {
	w, err := pub.Create("index", "text/plain")
	if err != nil {
		return err
	}
	for rec, err := range recs {
		if err == nil {
			_, err = fmt.Fprintf(w, "%s %x\n", rec.Name, rec.Sums.SHA256)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (ledger) Renderer() string { return "1" }

// publish writes or removes an entry, while another node may be reading the
// document; after it that node must list what was acknowledged.
func (n *node) publish(ctx context.Context) {
	tr, o := n.entry(n.client, n.roll(2)), n.other(n.client)
	if o != nil && n.roll(2) == 0 {
		o.work.Go(func() { o.send(o.ctx, simLedger, "", "all/index", http.MethodGet, nil) }) //nolint:errcheck // to be in the way
	}
	if n.roll(3) == 0 {
		n.del(ctx, tr)
	} else if n.put(ctx, tr, n.fresh()) {
		n.count("publish")
	}
	if o != nil {
		o.checkLedger(ctx, n.client, "", nil)
	}
	n.checkLedger(ctx, n.client, "", nil)
}

// checkLedger reads the document and compares the entries of a client, which
// writes nothing meanwhile: with what they hold now or, of a snapshot, held.
func (n *node) checkLedger(ctx context.Context, client int, asOf string, then map[string]map[int]bool) {
	got, err := n.send(ctx, simLedger, asOf, "all/index", http.MethodGet, nil)
	if err != nil && passing(err) {
		return
	}
	if errors.Is(err, formats.ErrCorrupt) {
		n.fail("the document of the ledger@%s: %v", asOf, err)
		return
	}
	listed := map[string]string{}
	for line := range bytes.Lines(got) {
		name, sum, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		listed[name] = sum
	}
	n.count("document read")
	for k := range 2 {
		tr := n.entry(client, k)
		may := then[tr.path]
		if then == nil {
			n.locked(func() { may = tr.may })
		}
		sum, there := listed[strings.TrimPrefix(tr.path, "all/")]
		ok := len(may) == 0 && !there
		n.locked(func() {
			for c := range may {
				want := sha256.Sum256(content(c))
				ok = ok || c == gone && !there || c != gone && there && sum == hex.EncodeToString(want[:])
			}
		})
		if !ok {
			n.fail("the document of the ledger@%s lists %s as %q; it may be %v", asOf, tr.path, sum, may)
		}
	}
}
