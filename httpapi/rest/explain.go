package rest

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"granary/formats"
	"granary/gc/explain"
	"granary/httpapi/exchange"
)

// Explainer tells why a blob is kept; [explain.Explainer] does.
type Explainer interface {
	Explain(ctx context.Context, q explain.Query) (explain.Answer, error)
}

// BlobExplanation is why a blob is kept, or why not.
type BlobExplanation struct {
	Store       string         `json:"store"`
	BlobID      *string        `json:"blob_id" nullable:"true"`
	ContentHash *string        `json:"content_hash" nullable:"true" doc:"BLAKE3 in hex."`
	Verdict     string         `json:"verdict" enum:"alive,unnamed,condemned,deleting,lost,orphan,unknown"`
	Reason      string         `json:"reason"`
	Size        *int64         `json:"size" nullable:"true" doc:"Bytes of the object in the store; null: there is none."`
	Reference   *BlobReference `json:"reference" doc:"What the store's table says; null: it has no such content."`
	Collector   BlobCollector  `json:"collector"`
	NamedBy     []BlobName     `json:"named_by" nullable:"false"`
	Limit       int            `json:"limit" doc:"How many names are listed at the most."`
	ItemsRead   int            `json:"items_read" doc:"Items that were read for this answer, at most some 200,000."`
	Complete    bool           `json:"complete" doc:"Everything has been looked at, in this answer and those before it."`
	NextCursor  *string        `json:"next_cursor" nullable:"true" doc:"Where to go on; null when complete."`
}

// BlobReference is the state of content.
type BlobReference struct {
	BlobID string    `json:"blob_id"`
	Size   int64     `json:"size"`
	State  string    `json:"state" enum:"live,condemned,deleting,lost"`
	Since  Timestamp `json:"since" doc:"From which on it is in that state."`
}

// BlobCollector is how far the rounds of garbage collection are.
type BlobCollector struct {
	LastRound    uint64    `json:"last_round" doc:"Number of the last closed round; 0: none."`
	LastClosedAt Timestamp `json:"last_closed_at"`
	RunningRound uint64    `json:"running_round" doc:"Number of a round that is not closed; 0: none."`
	GraceUntil   Timestamp `json:"grace_until" doc:"When the next round may begin to mark at the earliest."`
	Listed       bool      `json:"listed" doc:"The last round left it condemned as it is: the next deletes it unless it is used."`
	DeletedIn    uint64    `json:"deleted_in_round" doc:"The round that deletes it if nothing changes; 0: none that is known."`
}

// BlobName is what names a blob.
type BlobName struct {
	Kind       string    `json:"kind" enum:"upload,publication,document,record,history"`
	Repository string    `json:"repository"`
	Path       string    `json:"path" doc:"Of an artifact or document, the scope of a publication, the id of an upload session."`
	Since      Timestamp `json:"since" doc:"Of history: from when the artifact was that."`
	BlobID     string    `json:"blob_id" doc:"The blob that it names: another than the reference's after healing."`
}

type blobPath struct {
	Name   string `path:"name"`
	ID     string `path:"id" doc:"A blob id, or the BLAKE3 of its content in hex, which is found faster."`
	Limit  string `query:"limit" doc:"How many names are listed, 1 to 1000; 100 if absent."`
	Cursor string `query:"cursor" doc:"The next_cursor of an answer that is not complete."`
}

func (a *api) explain() {
	if a.Explainer == nil {
		return
	}
	register(a, operation{
		id: "explain-blob", method: http.MethodGet, path: "/stores/{name}/blobs/{id}", summary: "Tell why a blob is kept, or why not", tag: "stores",
	}, a.explainBlob)
}

// namesListed is how many names an answer has if nothing is said.
const namesListed = 100

func (a *api) explainBlob(ctx context.Context, x *exchange.Exchange, in *blobPath) (*answer[BlobExplanation], error) {
	name, err := a.admitted(x, &named{in.Name})
	if err != nil {
		return nil, err
	}
	s, err := a.Registry.Store(ctx, name)
	if err != nil {
		return nil, err
	}
	q := explain.Query{Store: s.ID, Limit: namesListed}
	if q.ID, err = segment(in.ID); err != nil {
		return nil, err
	}
	query, err := url.ParseQuery(x.Request().URL.RawQuery)
	if err != nil {
		return nil, formats.BadRequest("the query can't be read")
	}
	q.Cursor = query.Get("cursor")
	if v := query.Get("limit"); v != "" {
		if q.Limit, err = strconv.Atoi(v); err != nil || q.Limit < 1 || q.Limit > explain.MaxNames {
			return nil, invalid("limit", "must be a number from 1 to %d", explain.MaxNames)
		}
	}
	got, err := a.Explainer.Explain(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", name, err)
	}
	return &answer[BlobExplanation]{showExplanation(s.Name, q.Limit, got)}, nil
}

func showExplanation(store string, limit int, a explain.Answer) BlobExplanation {
	verdict, reason := a.Verdict()
	p := a.Pending
	out := BlobExplanation{
		Store: store, BlobID: filled(string(a.Blob)), ContentHash: filled(a.Hash), Verdict: string(verdict), Reason: reason, Size: a.Object,
		Collector: BlobCollector{
			LastRound: p.Round, LastClosedAt: Timestamp(p.Closed), RunningRound: p.Running, GraceUntil: Timestamp(p.Next), Listed: p.Listed,
		},
		NamedBy: []BlobName{}, Limit: limit, ItemsRead: a.Items, Complete: a.Next == "", NextCursor: filled(a.Next),
	}
	if r := a.Reference; r != nil {
		out.Reference = &BlobReference{BlobID: string(r.Blob), Size: r.Size, State: r.State.String(), Since: Timestamp(r.Since)}
	}
	if verdict == explain.Condemned {
		out.Collector.DeletedIn = p.Round + 2
		if p.Listed {
			out.Collector.DeletedIn = p.Round + 1
		}
	}
	for _, n := range a.Names {
		out.NamedBy = append(out.NamedBy, BlobName{string(n.Kind), n.Repository, n.Path, Timestamp(n.Since), string(n.Blob)})
	}
	return out
}
