package telemetry

import (
	"context"
	"log/slog"
	"time"
)

// Direction tells requests to the server from those that it makes.
type Direction string

// The directions.
const (
	Downstream Direction = "downstream"
	Upstream   Direction = "upstream"
)

// Request is a line of the request log.
type Request struct {
	ID        string
	Username  string
	IP        string
	Method    string
	Path      string // without the query, which may hold secrets
	Status    int
	Action    string // the operation's label
	Elapsed   time.Duration
	BytesRecv int64 // of the body
	BytesSent int64 // of the body
	Direction Direction
	TraceID   string
}

// LogRequest writes a line. Durations are whole nanoseconds.
func LogRequest(ctx context.Context, l *slog.Logger, r *Request) {
	h := l.Handler()
	if !h.Enabled(ctx, slog.LevelInfo) {
		return
	}
	// Not by the logger, which looks at the stack for the line of the program.
	line := slog.NewRecord(time.Now(), slog.LevelInfo, "request", 0)
	line.AddAttrs(
		slog.String("request_id", r.ID),
		slog.String("username", r.Username),
		slog.String("ip", r.IP),
		slog.String("method", r.Method),
		slog.String("path", r.Path),
		slog.Int("status", r.Status),
		slog.String("action", r.Action),
		slog.Int64("elapsed_ns", int64(r.Elapsed)),
		slog.Int64("bytes_recv", r.BytesRecv),
		slog.Int64("bytes_sent", r.BytesSent),
		slog.String("direction", string(r.Direction)),
		slog.String("trace_id", r.TraceID),
	)
	_ = h.Handle(ctx, line) // as the logger does: there is nobody to tell
}
