package otlp

import (
	"context"
	"log/slog"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/otel/attribute"
	sdklog "go.opentelemetry.io/otel/sdk/log"
)

// Handler sends log lines of a level and above, under the name of a scope. A
// line whose context has a span carries its trace.
func (e *Exporter) Handler(scope string, least slog.Level) slog.Handler {
	return atLeast{otelslog.NewHandler(scope, otelslog.WithLoggerProvider(e.logs)), least}
}

// atLeast passes on what is of a level or above.
type atLeast struct {
	slog.Handler
	level slog.Level
}

// Enabled implements [slog.Handler].
func (h atLeast) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

// WithAttrs implements [slog.Handler].
func (h atLeast) WithAttrs(attrs []slog.Attr) slog.Handler {
	return atLeast{h.Handler.WithAttrs(attrs), h.level}
}

// WithGroup implements [slog.Handler].
func (h atLeast) WithGroup(name string) slog.Handler {
	return atLeast{h.Handler.WithGroup(name), h.level}
}

// readable makes the texts of a record valid UTF-8. Paths of clients need not
// be, and one text that is not makes the whole message unsendable.
func readable(r *sdklog.Record) {
	if v, changed := valid(r.Body()); changed {
		r.SetBody(v)
	}
	bad := false
	r.WalkAttributes(func(a attribute.KeyValue) bool {
		_, bad = valid(a.Value)
		return !bad
	})
	if !bad {
		return
	}
	attrs := make([]attribute.KeyValue, 0, r.AttributesLen())
	r.WalkAttributes(func(a attribute.KeyValue) bool {
		a.Value, _ = valid(a.Value)
		attrs = append(attrs, a)
		return true
	})
	r.SetAttributes(attrs...)
}

// valid returns a value whose texts are valid UTF-8, and whether v was another.
func valid(v attribute.Value) (_ attribute.Value, changed bool) {
	switch v.Type() {
	case attribute.STRING:
		if s := v.AsString(); !utf8.ValidString(s) {
			return attribute.StringValue(strings.ToValidUTF8(s, "\uFFFD")), true
		}
	case attribute.STRINGSLICE:
		list := v.AsStringSlice()
		for i, s := range list {
			changed = changed || !utf8.ValidString(s)
			list[i] = strings.ToValidUTF8(s, "\uFFFD")
		}
		if changed {
			return attribute.StringSliceValue(list), true
		}
	case attribute.SLICE:
		list := v.AsSlice()
		for i := range list {
			var c bool
			list[i], c = valid(list[i])
			changed = changed || c
		}
		if changed {
			return attribute.SliceValue(list...), true
		}
	case attribute.MAP:
		list := v.AsMap()
		for i := range list {
			var c bool
			list[i].Value, c = valid(list[i].Value)
			changed = changed || c
		}
		if changed {
			return attribute.MapValue(list...), true
		}
	}
	return v, false
}
