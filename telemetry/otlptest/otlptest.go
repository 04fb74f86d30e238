// Package otlptest is a collector of OpenTelemetry for tests: a gRPC server in
// this process that keeps what it is sent.
package otlptest

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"

	logs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	traces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
)

// Span is one as it was sent. Ids are hex digits, "" for none.
type Span struct {
	Name                    string
	TraceID, SpanID, Parent string
	State                   string // tracestate
	Kind                    trace.Span_SpanKind
	Failed                  bool
	Start, End              uint64 // ns since 1970
	Attributes, Resource    map[string]string
}

// Log is a line as it was sent.
type Log struct {
	Body, Level, Scope   string
	TraceID, SpanID      string
	Attributes, Resource map[string]string
}

// Sink is a collector.
type Sink struct {
	// Address is its host:port.
	Address string

	mu    sync.Mutex
	spans []Span // guarded by mu, as all below
	logs  []Log
	err   error         // what is answered instead
	held  chan struct{} // if not nil, nothing is answered until it is closed
}

// Start runs one on a free port of 127.0.0.1 until the test ends.
func Start(t testing.TB, options ...grpc.ServerOption) *Sink {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Sink{Address: l.Addr().String()}
	server := grpc.NewServer(options...)
	traces.RegisterTraceServiceServer(server, tracesOf{sink: s})
	logs.RegisterLogsServiceServer(server, logsOf{sink: s})
	var work sync.WaitGroup
	work.Go(func() {
		if err := server.Serve(l); err != nil {
			t.Errorf("collector: %v", err)
		}
	})
	t.Cleanup(func() {
		s.Release()
		server.Stop()
		work.Wait()
	})
	return s
}

// Hold keeps all senders waiting from now on.
func (s *Sink) Hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		s.held = make(chan struct{})
	}
}

// Release answers them.
func (s *Sink) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held != nil {
		close(s.held)
		s.held = nil
	}
}

// Refuse answers with err from now on; nil takes what comes again.
func (s *Sink) Refuse(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// Spans returns those that have come.
func (s *Sink) Spans() []Span {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.spans)
}

// Logs returns the lines that have come.
func (s *Sink) Logs() []Log {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.logs)
}

// answer waits while the sink is held, and tells what to answer.
func (s *Sink) answer(ctx context.Context) error {
	s.mu.Lock()
	held := s.held
	s.mu.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

type tracesOf struct {
	traces.UnimplementedTraceServiceServer
	sink *Sink
}

func (t tracesOf) Export(ctx context.Context, r *traces.ExportTraceServiceRequest) (*traces.ExportTraceServiceResponse, error) {
	if err := t.sink.answer(ctx); err != nil {
		return nil, err
	}
	t.sink.mu.Lock()
	defer t.sink.mu.Unlock()
	for _, rs := range r.GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			for _, span := range ss.GetSpans() {
				t.sink.spans = append(t.sink.spans, Span{
					Name: span.GetName(), TraceID: hex.EncodeToString(span.GetTraceId()), SpanID: hex.EncodeToString(span.GetSpanId()),
					Parent: hex.EncodeToString(span.GetParentSpanId()), State: span.GetTraceState(), Kind: span.GetKind(),
					Failed: span.GetStatus().GetCode() == trace.Status_STATUS_CODE_ERROR,
					Start:  span.GetStartTimeUnixNano(), End: span.GetEndTimeUnixNano(),
					Attributes: texts(span.GetAttributes()), Resource: of(rs.GetResource()),
				})
			}
		}
	}
	return &traces.ExportTraceServiceResponse{}, nil
}

type logsOf struct {
	logs.UnimplementedLogsServiceServer
	sink *Sink
}

func (l logsOf) Export(ctx context.Context, r *logs.ExportLogsServiceRequest) (*logs.ExportLogsServiceResponse, error) {
	if err := l.sink.answer(ctx); err != nil {
		return nil, err
	}
	l.sink.mu.Lock()
	defer l.sink.mu.Unlock()
	for _, rl := range r.GetResourceLogs() {
		for _, sl := range rl.GetScopeLogs() {
			for _, line := range sl.GetLogRecords() {
				l.sink.logs = append(l.sink.logs, Log{
					Body: text(line.GetBody()), Level: line.GetSeverityText(), Scope: sl.GetScope().GetName(),
					TraceID: hex.EncodeToString(line.GetTraceId()), SpanID: hex.EncodeToString(line.GetSpanId()),
					Attributes: texts(line.GetAttributes()), Resource: of(rl.GetResource()),
				})
			}
		}
	}
	return &logs.ExportLogsServiceResponse{}, nil
}

func of(r *resource.Resource) map[string]string { return texts(r.GetAttributes()) }

func texts(attrs []*common.KeyValue) map[string]string {
	out := map[string]string{}
	for _, a := range attrs {
		out[a.GetKey()] = text(a.GetValue())
	}
	return out
}

func text(v *common.AnyValue) string {
	switch v := v.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return v.StringValue
	case *common.AnyValue_IntValue:
		return strconv.FormatInt(v.IntValue, 10)
	case *common.AnyValue_BoolValue:
		return strconv.FormatBool(v.BoolValue)
	case *common.AnyValue_DoubleValue:
		return strconv.FormatFloat(v.DoubleValue, 'g', -1, 64)
	case nil:
		return ""
	default:
		return fmt.Sprint(v)
	}
}
