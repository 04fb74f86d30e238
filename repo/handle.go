package repo

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"granary/formats"
	"granary/kv"
	"granary/repo/config"
)

// Handle is one repository as one caller sees it, for the length of a request.
type Handle struct {
	Config *config.Repository
	Format formats.Format
	// Source finds the repository that a client of the surface means by a
	// name, for copies from it, and what the name says within it. Optional;
	// it is set before Call.
	Source func(name string) (repository, within string, ok bool)

	service *Service
	repo    *repository
	view    view
	access  Access
	moment  *moment // nil: now
}

// view is formats.View with what the core alone needs.
type view interface {
	formats.View
	// find is Open; fresh asks for the latest state.
	find(ctx context.Context, op formats.Op, fresh bool) (*formats.Content, error)
	// targets returns the views that hold records themselves, in order.
	targets() []target
}

// target is a hosted or cache repository behind a view.
type target interface {
	view
	base() *hosted
}

// ReadOptions change how a file or document is read.
type ReadOptions struct {
	// Fresh reads consistently whatever the format says of the path: the
	// request carried Cache-Control: no-cache.
	Fresh bool
}

// Precondition is what If-Match and If-None-Match of a request say, "" for
// neither.
type Precondition struct {
	IfMatch, IfNoneMatch string
}

// Route reads a request below the repository.
func (h *Handle) Route(req formats.Req) (formats.Op, bool) {
	if op, ok := h.ofMember(req); ok {
		return op, true
	}
	return h.Format.Route(req)
}

// View is what the format's Call is given.
func (h *Handle) View() formats.View { return h.view }

// Read returns the file or document that op asks for.
func (h *Handle) Read(ctx context.Context, op formats.Op, o ReadOptions) (*formats.Content, error) {
	if op.Kind == formats.Doc {
		return h.service.pubs.document(ctx, h.repo, h.view, op)
	}
	c, err := h.view.find(ctx, op, o.Fresh)
	if err == nil && c.Accessed != nil && h.moment == nil {
		c.Accessed()
	}
	return c, err
}

// ErrNotWritable is returned while a node must take no writes; 503.
var ErrNotWritable = errors.New("this node takes no writes now")

func (s *Service) writable() error {
	if err := s.Writable(); err != nil {
		return fmt.Errorf("%w: %w", ErrNotWritable, err)
	}
	return nil
}

// changeable refuses to write into the past.
func (h *Handle) changeable() error {
	if h.moment != nil {
		return fmt.Errorf("%w: %s as it was can't be changed", formats.ErrNotAllowed, h.repo.Name)
	}
	return h.service.writable()
}

// Content returns the bytes of a record that the handle's view yielded.
func (h *Handle) Content(ctx context.Context, rec formats.Record) (*formats.Content, error) {
	return h.view.find(ctx, formats.Op{Kind: formats.File, Scope: rec.Scope, Name: rec.Name}, false)
}

// Write gives an upload to the format and publishes the records that it makes.
// It returns them as stored, in the order of their names in the upload.
func (h *Handle) Write(ctx context.Context, op formats.Op, up *formats.Upload, pre Precondition) ([]formats.Record, error) {
	if err := h.changeable(); err != nil {
		return nil, err
	}
	t, err := h.writeTarget(ctx)
	if err != nil {
		return nil, err
	}
	defer h.service.uploading()()
	tx, err := newTx(ctx, t, up, pre)
	if err != nil {
		return nil, err
	}
	defer tx.close(ctx)
	tx.op = op
	if h.repo.Type == config.Proxy {
		tx.group = h.view
	}
	if err := tx.announced(); err != nil {
		return nil, err
	}
	if err := h.Format.Accept(ctx, op, up, tx); err != nil {
		return nil, tx.explain(err)
	}
	return tx.commit(ctx)
}

// writeTarget is the hosted repository that takes uploads.
func (h *Handle) writeTarget(ctx context.Context) (*hosted, error) {
	switch h.repo.Type {
	case config.Hosted:
		return &hosted{service: h.service, repo: h.repo}, nil
	case config.Cache:
		return nil, fmt.Errorf("%w: %s is a cache", formats.ErrNotAllowed, h.repo.Name)
	}
	if h.repo.WriteMember == "" {
		return nil, fmt.Errorf("%w: group %s has no write_member", formats.ErrNotAllowed, h.repo.Name)
	}
	c, ok := h.service.Registry.RepositoryByID(h.repo.WriteMember)
	if !ok {
		return nil, fmt.Errorf("%w: the write_member of group %s is gone", formats.ErrNotAllowed, h.repo.Name)
	}
	if !h.access(formats.VerbWrite, c.Name) {
		return nil, fmt.Errorf("%w: write on the member that takes uploads of %s", ErrForbidden, h.repo.Name)
	}
	m, err := h.service.Open(ctx, c.Name, h.access)
	if err != nil {
		return nil, err
	}
	return m.writeTarget(ctx)
}

// Delete gives a removal to the format for each repository behind the view
// that the caller may delete from, and is not found only if none had a record.
func (h *Handle) Delete(ctx context.Context, op formats.Op, pre Precondition) error {
	if err := h.changeable(); err != nil {
		return err
	}
	found, allowed := false, false
	for _, t := range h.view.targets() {
		b := t.base()
		if h.repo != b.repo && !h.access(formats.VerbDelete, b.repo.Name) {
			continue
		}
		allowed = true
		ok, err := h.deleteFrom(ctx, b, op, pre)
		if err != nil {
			return err
		}
		found = found || ok
	}
	switch {
	case !allowed && len(h.view.targets()) > 0:
		return fmt.Errorf("%w: delete on the members of %s", ErrForbidden, h.repo.Name)
	case !found:
		return fmt.Errorf("%s: %w", op.Key(), formats.ErrNotFound)
	}
	return nil
}

// deleteFrom begins again where an upload writes again what is to be removed.
func (h *Handle) deleteFrom(ctx context.Context, b *hosted, op formats.Op, pre Precondition) (bool, error) {
	for range maxAgain {
		found, err := h.tryDelete(ctx, b, op, pre)
		if !errors.Is(err, errNewer) {
			return found, err
		}
	}
	return false, fmt.Errorf("%w: %s/%s is uploaded again and again", kv.ErrConflict, b.repo.Name, op.Key())
}

func (h *Handle) tryDelete(ctx context.Context, b *hosted, op formats.Op, pre Precondition) (bool, error) {
	tx, err := newTx(ctx, b, nil, pre)
	if err != nil {
		return false, err
	}
	defer tx.close(ctx)
	tx.op = op
	if err := h.Format.Accept(ctx, op, nil, tx); err != nil {
		return false, err
	}
	return tx.commitDeletes(ctx)
}

// Call runs a call of the format's own.
func (h *Handle) Call(w http.ResponseWriter, r *http.Request, op formats.Op) error {
	c, ok := h.Format.(formats.Caller)
	if !ok {
		return fmt.Errorf("%s: %w", op.Label, formats.ErrNotFound)
	}
	ctx := formats.WithDocuments(formats.WithUploads(r.Context(), uploads{h}), documentsOf{h})
	return c.Call(w, r.WithContext(ctx), op, h.view)
}

// documentsOf is formats.Documents.
type documentsOf struct{ *Handle }

func (d documentsOf) Document(ctx context.Context, op formats.Op) (*formats.Content, error) {
	return d.Read(ctx, op, ReadOptions{})
}
