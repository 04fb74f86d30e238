package record

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"granary/formats"
	"granary/kv"
)

// Option changes how records are scanned and listed.
type Option func(*options)

type options struct {
	read  []kv.ReadOption
	scope string
	deep  bool // names of scope reach below it
	at    int64
	waits string // only records that name this commit, seen or not
	from  string // least name
}

// Consistent asks for the latest acknowledged state.
func Consistent(o *options) { o.read = append(o.read, kv.Consistent) }

// InScope says that the directory is scope or lies within it, so that records
// of scope with slashes in their names are found there too.
func InScope(scope string) Option {
	return func(o *options) { o.scope, o.deep = scope, true }
}

// Naming asks for the records that name a commit, whether that exists or not.
func Naming(commit string) Option { return func(o *options) { o.waits = commit } }

// From leaves out the names below one. It is for Scope.
func From(name string) Option { return func(o *options) { o.from = name } }

// resolve folds options. A scope that the directory is not within is of no use.
func resolve(dir string, opts []Option) options {
	o := options{at: present}
	for _, f := range opts {
		f(&o)
	}
	if _, ok := o.within(dir); !ok {
		o.deep = false
	}
	return o
}

// within returns what names of the scope begin with in dir: "" or a path that
// ends in a slash.
func (o options) within(dir string) (prefix string, ok bool) {
	switch {
	case !o.deep:
		return "", false
	case dir == o.scope:
		return "", true
	case o.scope == "":
		return dir + "/", true
	}
	rest, ok := strings.CutPrefix(dir, o.scope+"/")
	return rest + "/", ok
}

// Named is a record with its name.
type Named struct {
	Scope, Name string
	Version     kv.Version
	Record      Record

	stage int
}

// Cursor is where a Walk that stopped after this record continues.
func (n Named) Cursor() string {
	return fmt.Sprintf("%04x/%s//%s", n.stage, n.Scope, n.Name)
}

// A page of a scan is collected before it is handed on, so that no iterator of
// the store stays open while a slow client takes what it yields.
const (
	pageItems = 1000
	pageBytes = 1 << 20
)

// Scope yields the live records of a scope by ascending Name, and one error,
// last.
func (s *Store) Scope(ctx context.Context, sp kv.Space, scope string, opts ...Option) iter.Seq2[Named, error] {
	o := resolve(scope, opts)
	from, to := kv.NamesRange(scope, o.from)
	return s.scan(ctx, sp, span{0, sp.Records(sp.Shard(scope)), from, to}, o)
}

// Walk yields all live records at or below a directory, shard after shard, and
// one error, last. It begins after cursor, which is that of a record that an
// earlier Walk of the same directory yielded, or "".
func (s *Store) Walk(ctx context.Context, sp kv.Space, dir, cursor string, opts ...Option) iter.Seq2[Named, error] {
	o := resolve(dir, opts)
	return func(yield func(Named, error) bool) {
		spans, err := resume(walkSpans(sp, dir, o), cursor)
		if err != nil {
			yield(Named{}, err)
			return
		}
		for _, p := range spans {
			for n, err := range s.scan(ctx, sp, p, o) {
				if !yield(n, err) || err != nil {
					return
				}
			}
		}
	}
}

// Sort is the record's place in its shard.
func (n Named) Sort() string { return n.Scope + "//" + n.Name }

// Shard yields the records of one shard in order, those after a place in it, ""
// being its beginning, and one error, last.
func (s *Store) Shard(ctx context.Context, sp kv.Space, shard int, place string, opts ...Option) iter.Seq2[Named, error] {
	o := resolve("", opts)
	p := span{partition: sp.Records(shard)}
	if place != "" {
		p.from = after(place)
	}
	return s.scan(ctx, sp, p, o)
}

// Below yields the records of one shard at or below a directory, also those of
// a scope above whose names lie there, and one error, last.
func (s *Store) Below(ctx context.Context, sp kv.Space, shard int, dir string, opts ...Option) iter.Seq2[Named, error] {
	o := resolve("", opts)
	from, to := kv.TreeRange(dir)
	spans := []span{{partition: sp.Records(shard), from: from, to: to}}
	for above := dir; above != ""; {
		above = parent(above)
		if sp.Shard(above) == shard {
			p := span{partition: sp.Records(shard)}
			p.from, p.to = namesWithin(above, strings.TrimPrefix(dir[len(above):], "/")+"/")
			spans = append(spans, p)
		}
	}
	return func(yield func(Named, error) bool) {
		for _, p := range spans {
			for n, err := range s.scan(ctx, sp, p, o) {
				if !yield(n, err) || err != nil {
					return
				}
			}
		}
	}
}

// span is a stretch of a partition. Spans of a walk are told apart by stage.
type span struct {
	stage               int
	partition, from, to string
}

// walkSpans are the shards, and after them the names of a scope above.
func walkSpans(sp kv.Space, dir string, o options) []span {
	var out []span
	from, to := kv.TreeRange(dir)
	for shard := range max(1, sp.Shards) {
		out = append(out, span{shard, sp.Records(shard), from, to})
	}
	if prefix, ok := o.within(dir); ok && prefix != "" {
		from, to := namesWithin(o.scope, prefix)
		out = append(out, span{len(out), sp.Records(sp.Shard(o.scope)), from, to})
	}
	return out
}

// namesWithin bounds the records of a scope whose names begin with prefix,
// which is "" or ends in a slash.
func namesWithin(scope, prefix string) (from, to string) {
	from, to = kv.NamesRange(scope, prefix)
	if prefix != "" {
		to = past(from)
	}
	return from, to
}

// past is the least string above all that begin with s, which ends in a slash.
func past(s string) string { return s[:len(s)-1] + "0" }

// after is the least string above s.
func after(s string) string { return s + "\x00" }

func resume(spans []span, cursor string) ([]span, error) {
	if cursor == "" {
		return spans, nil
	}
	number, sort, ok := strings.Cut(cursor, "/")
	stage, err := strconv.ParseUint(number, 16, 16)
	if !ok || err != nil || int(stage) >= len(spans) {
		return nil, formats.BadRequest("%q is no cursor", cursor)
	}
	spans = spans[stage:]
	spans[0].from = max(spans[0].from, after(sort))
	if to := spans[0].to; to != "" && spans[0].from >= to {
		spans = spans[1:]
	}
	return spans, nil
}

// scan yields the records of a span that are seen at the time asked for.
func (s *Store) scan(ctx context.Context, sp kv.Space, p span, o options) iter.Seq2[Named, error] {
	return func(yield func(Named, error) bool) {
		for more := true; more; {
			var items []kv.Item
			var err error
			if items, more, err = s.page(ctx, &p, o.read); err != nil {
				yield(Named{}, err)
				return
			}
			page, err := heads(items, p.stage)
			switch {
			case err != nil:
			case o.waits != "":
				page = slices.DeleteFunc(page, func(n Named) bool { return n.Record.Commit != o.waits })
			default:
				page, err = s.seen(ctx, sp, page, o.at)
			}
			if err != nil {
				yield(Named{}, err)
				return
			}
			for _, n := range page {
				if !yield(n, nil) {
					return
				}
			}
		}
	}
}

// heads are the records of a page, tombstones included.
func heads(items []kv.Item, stage int) ([]Named, error) {
	out := make([]Named, 0, len(items))
	for _, item := range items {
		scope, name, marker := kv.SplitRecord(item.Sort)
		if marker {
			continue
		}
		rec, err := Decode(item)
		if err != nil {
			return nil, err
		}
		out = append(out, Named{scope, name, item.Version, rec, stage})
	}
	return out, nil
}

// page reads some items and moves the span past them; more: there may be others.
func (s *Store) page(ctx context.Context, p *span, read []kv.ReadOption) (items []kv.Item, more bool, err error) {
	size := 0
	opts := append([]kv.ReadOption{kv.Limit(pageItems)}, read...)
	for item, err := range s.kv.Query(ctx, p.partition, p.from, p.to, opts...) {
		if err != nil {
			return nil, false, fmt.Errorf("scan %s: %w", p.partition, err)
		}
		items = append(items, item)
		p.from = after(item.Sort)
		if size += len(item.Value); size >= pageBytes {
			return items, true, nil
		}
	}
	return items, len(items) == pageItems, nil
}
