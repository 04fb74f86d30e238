package rest

import (
	"context"
	"net/http"
	"reflect"

	"granary/formats"
	"granary/httpapi/exchange"
	"granary/repo"
)

// Snapshot is a named time of a repository.
type Snapshot struct {
	Name      string    `json:"name"`
	CreatedAt Timestamp `json:"created_at" doc:"The time that the snapshot is of: it holds what was written by then."`
	CreatedBy string    `json:"created_by"`
}

// SnapshotRequest is the body that takes a snapshot.
type SnapshotRequest struct {
	Name string `json:"name"`
}

// oneSnapshot is the input of an operation on a snapshot.
type oneSnapshot struct {
	Name     string `path:"name"`
	Snapshot string `path:"snapshot"`
}

func (a *api) snapshots() {
	const tag = "snapshots"
	register(a, operation{
		id: "list-snapshots", method: http.MethodGet, path: "/repositories/{name}/snapshots", summary: "List the snapshots of a repository", tag: tag,
	}, a.listSnapshots)
	register(a, operation{
		id: "take-snapshot", method: http.MethodPost, path: "/repositories/{name}/snapshots", tag: tag,
		summary: "Take a snapshot, which is then read at /repository/{name}@{snapshot}/",
		status:  http.StatusCreated, reads: reflect.TypeFor[SnapshotRequest](),
	}, a.takeSnapshot)
	register(a, operation{
		id: "delete-snapshot", method: http.MethodDelete, path: "/repositories/{name}/snapshots/{snapshot}", summary: "Delete a snapshot", tag: tag,
		status: http.StatusNoContent,
	}, a.deleteSnapshot)
}

func showSnapshot(s *repo.Snapshot) *Snapshot {
	return &Snapshot{Name: s.Name, CreatedAt: Timestamp(s.Time()), CreatedBy: s.CreatedBy}
}

// allowed is the repository's name, once the caller has the right.
func allowed(x *exchange.Exchange, verb formats.Verb, escaped string) (string, error) {
	name, err := segment(escaped)
	if err != nil {
		return "", err
	}
	return name, x.Authorise(verb, name)
}

func (a *api) listSnapshots(ctx context.Context, x *exchange.Exchange, in *named) (*answer[[]*Snapshot], error) {
	name, err := allowed(x, formats.VerbRead, in.Name)
	if err != nil {
		return nil, err
	}
	all, err := a.Repositories.Snapshots(ctx, name)
	if err != nil {
		return nil, err
	}
	out := make([]*Snapshot, 0, len(all))
	for _, s := range all {
		out = append(out, showSnapshot(s))
	}
	return &answer[[]*Snapshot]{out}, nil
}

func (a *api) takeSnapshot(ctx context.Context, x *exchange.Exchange, in *named) (*answer[*Snapshot], error) {
	name, err := allowed(x, formats.VerbWrite, in.Name)
	if err != nil {
		return nil, err
	}
	p, err := a.read(x, maxBody)
	if err != nil {
		return nil, err
	}
	var body SnapshotRequest
	if err := p.decode(&body); err != nil {
		return nil, err
	}
	s, err := a.Repositories.Snapshot(ctx, name, body.Name, x.Identity.Name)
	if err != nil {
		return nil, err
	}
	return &answer[*Snapshot]{showSnapshot(s)}, nil
}

func (a *api) deleteSnapshot(ctx context.Context, x *exchange.Exchange, in *oneSnapshot) (*none, error) {
	name, err := allowed(x, formats.VerbDelete, in.Name)
	if err != nil {
		return nil, err
	}
	snapshot, err := segment(in.Snapshot)
	if err != nil {
		return nil, err
	}
	return nil, a.Repositories.DeleteSnapshot(ctx, name, snapshot)
}
