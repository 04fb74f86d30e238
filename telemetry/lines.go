package telemetry

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
)

// Lines is a slog handler for the request log, of which there is a line for
// every request: it writes what [slog.JSONHandler] writes at a third of the
// cost, for attributes that are strings and numbers. Others, groups, and
// loggers made by With are left to that handler.
type Lines struct {
	out    io.Writer
	buffer sync.Pool // of *[]byte
}

var _ slog.Handler = (*Lines)(nil)

// NewLines writes to out, one Write for each line.
func NewLines(out io.Writer) *Lines {
	return &Lines{out: out, buffer: sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}}
}

// Enabled implements [slog.Handler].
func (*Lines) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs implements [slog.Handler].
func (l *Lines) WithAttrs(attrs []slog.Attr) slog.Handler {
	return slog.NewJSONHandler(l.out, nil).WithAttrs(attrs)
}

// WithGroup implements [slog.Handler].
func (l *Lines) WithGroup(name string) slog.Handler {
	return slog.NewJSONHandler(l.out, nil).WithGroup(name)
}

// Handle implements [slog.Handler].
func (l *Lines) Handle(ctx context.Context, r slog.Record) error {
	p := l.buffer.Get().(*[]byte)
	defer l.buffer.Put(p)
	b := append((*p)[:0], `{"time":"`...)
	b = r.Time.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","level":`...)
	b = appendString(b, r.Level.String())
	b = append(b, `,"msg":`...)
	b = appendString(b, r.Message)
	simple := true
	r.Attrs(func(a slog.Attr) bool {
		b = append(b, ',')
		b = appendString(b, a.Key)
		b = append(b, ':')
		switch a.Value.Kind() {
		case slog.KindString:
			b = appendString(b, a.Value.String())
		case slog.KindInt64:
			b = strconv.AppendInt(b, a.Value.Int64(), 10)
		default:
			simple = false
		}
		return simple
	})
	*p = b
	if !simple {
		return slog.NewJSONHandler(l.out, nil).Handle(ctx, r)
	}
	*p = append(b, "}\n"...)
	_, err := l.out.Write(*p)
	return err
}

// appendString adds s in JSON. What needs no escape, as nearly everything
// here, is copied.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			quoted, err := json.Marshal(s)
			if err != nil {
				return append(b, `""`...) // a string can always be marshalled
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
