package rest

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"time"

	"granary/formats"
	"granary/httpapi/exchange"
	"granary/repo/config"
)

// Quarantined is something that is kept and given to nobody.
type Quarantined struct {
	Item      string    `json:"item" doc:"package@version, a package, the path of a file, or that of a directory with a slash at its end."`
	Reason    string    `json:"reason" doc:"Told to who asks for it."`
	CreatedBy string    `json:"created_by"`
	CreatedAt Timestamp `json:"created_at"`
}

// QuarantineRequest is the body that puts something away.
type QuarantineRequest struct {
	Item   string `json:"item" doc:"package@version, a package, the path of a file, or that of a directory with a slash at its end."`
	Reason string `json:"reason" doc:"Told to who asks for it."`
}

// oneQuarantined is the input of an operation on an entry.
type oneQuarantined struct {
	Name string `path:"name"`
	Item string `path:"item" doc:"With its slashes escaped."`
}

func (a *api) quarantine() {
	const tag, path = "quarantine", "/repositories/{name}/quarantine"
	register(a, operation{
		id: "list-quarantine", method: http.MethodGet, path: path, tag: tag, summary: "List what of a repository is in quarantine",
	}, a.listQuarantine)
	register(a, operation{
		id: "put-in-quarantine", method: http.MethodPost, path: path, tag: tag, status: http.StatusCreated, reads: reflect.TypeFor[QuarantineRequest](),
		summary: "Put a release, package, file or directory in quarantine: it is kept, shown in no index, and given to nobody",
	}, a.addQuarantined)
	register(a, operation{
		id: "release-from-quarantine", method: http.MethodDelete, path: path + "/{item}", tag: tag, status: http.StatusNoContent,
		summary: "Release something from quarantine",
	}, a.releaseQuarantined)
}

func showQuarantined(q config.Quarantined) Quarantined {
	return Quarantined{Item: q.Item, Reason: q.Reason, CreatedBy: q.By, CreatedAt: Timestamp(q.At)}
}

func showQuarantine(list []config.Quarantined) []Quarantined {
	out := make([]Quarantined, len(list))
	for i, q := range list {
		out[i] = showQuarantined(q)
	}
	return out
}

func (a *api) listQuarantine(ctx context.Context, x *exchange.Exchange, in *named) (*answer[[]Quarantined], error) {
	name, err := allowed(x, formats.VerbRead, in.Name)
	if err != nil {
		return nil, err
	}
	r, err := a.Registry.Repository(ctx, name)
	if err != nil {
		return nil, err
	}
	return &answer[[]Quarantined]{showQuarantine(r.Quarantine)}, nil
}

func (a *api) addQuarantined(ctx context.Context, x *exchange.Exchange, in *named) (*answer[Quarantined], error) {
	name, err := administered(x, in.Name)
	if err != nil {
		return nil, err
	}
	p, err := a.read(x, maxBody)
	if err != nil {
		return nil, err
	}
	var body QuarantineRequest
	if err := p.decode(&body); err != nil {
		return nil, err
	}
	q := config.Quarantined{Item: body.Item, Reason: body.Reason, By: x.Identity.Name, At: time.Now().UTC().Truncate(time.Millisecond)}
	_, err = a.Registry.UpdateRepository(ctx, name, func(r *config.Repository) error {
		if slices.ContainsFunc(r.Quarantine, func(o config.Quarantined) bool { return o.Item == q.Item }) {
			return fmt.Errorf("%.64q in the quarantine of %s: %w", q.Item, name, config.ErrExists)
		}
		r.Quarantine = append(slices.Clone(r.Quarantine), q)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &answer[Quarantined]{showQuarantined(q)}, nil
}

func (a *api) releaseQuarantined(ctx context.Context, x *exchange.Exchange, in *oneQuarantined) (*none, error) {
	name, err := administered(x, in.Name)
	if err != nil {
		return nil, err
	}
	item, err := segment(in.Item)
	if err != nil {
		return nil, err
	}
	_, err = a.Registry.UpdateRepository(ctx, name, func(r *config.Repository) error {
		left := slices.DeleteFunc(slices.Clone(r.Quarantine), func(q config.Quarantined) bool { return q.Item == item })
		if len(left) == len(r.Quarantine) {
			return fmt.Errorf("%.64q in the quarantine of %s: %w", item, name, config.ErrNotFound)
		}
		r.Quarantine = left
		return nil
	})
	return nil, err
}
