package otlp

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"granary/telemetry"
)

// FlushTime is how long Close waits for the collector.
const FlushTime = 5 * time.Second

// Limits of what waits for the collector, and of one way there.
const (
	spanQueue   = 4096
	logQueue    = 8192
	batch       = 512              // items in one message
	interval    = time.Second      // between messages, where fewer come together
	exportTime  = 10 * time.Second // of one message, tries after failures in it
	valueLength = 8 << 10          // characters of an attribute
	// A connection that is silent for silence is asked for a sign of life;
	// what was sent must be acknowledged within the latter time.
	silence      = 6 * time.Minute
	acknowledged = 20 * time.Second
)

// Config says where to send, and as whom.
type Config struct {
	Endpoint    Endpoint
	ServiceName string // service.name
	Environment string // deployment.environment.name; optional
	Version     string // service.version
	Instance    string // service.instance.id
	// TLS, for certificates that the system does not trust. Optional.
	TLS *tls.Config
	// Exports counts what is sent, and what is not.
	Exports *telemetry.Exports
	// Log hears now and then that something was lost. It must not lead to the
	// collector.
	Log *slog.Logger
	// Now is the clock of such lines. Optional.
	Now func() time.Time
}

// Exporter owns the connection and the goroutines that send.
type Exporter struct {
	conn   *grpc.ClientConn
	traces *sdktrace.TracerProvider
	tracer trace.Tracer // of traces
	logs   *sdklog.LoggerProvider
	cancel context.CancelFunc // gives up what is being sent
}

// Open makes an exporter. It does not connect: that is done when there is
// something to send, and tried again for ever.
func Open(c Config) (*Exporter, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	conn, err := dial(c)
	if err != nil {
		return nil, fmt.Errorf("collector of telemetry at %s: %w", c.Endpoint.Address, err)
	}
	// Without a context of the caller's: what is sent outlives requests.
	ctx, cancel := context.WithCancel(context.Background())
	e := &Exporter{conn: conn, cancel: cancel}
	losses := &losses{log: c.Log, now: c.Now}
	if err := e.open(ctx, c, losses); err != nil {
		cancel()
		conn.Close() //nolint:errcheck // nothing was sent
		return nil, fmt.Errorf("exporter of telemetry: %w", err)
	}
	return e, nil
}

func dial(c Config) (*grpc.ClientConn, error) {
	secure := insecure.NewCredentials()
	if c.Endpoint.TLS {
		config := c.TLS.Clone()
		if config == nil {
			config = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		secure = credentials.NewTLS(config)
	}
	return grpc.NewClient("dns:///"+c.Endpoint.Address, grpc.WithTransportCredentials(secure),
		grpc.WithUserAgent("granary/"+c.Version),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: silence, Timeout: acknowledged}))
}

func (e *Exporter) open(ctx context.Context, c Config, l *losses) error {
	r := describe(c)
	spans, err := otlptracegrpc.New(ctx, otlptracegrpc.WithGRPCConn(e.conn), otlptracegrpc.WithTimeout(exportTime),
		otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{Enabled: true, InitialInterval: time.Second, MaxInterval: 5 * time.Second, MaxElapsedTime: exportTime}))
	if err != nil {
		return err
	}
	logs, err := otlploggrpc.New(ctx, otlploggrpc.WithGRPCConn(e.conn), otlploggrpc.WithTimeout(exportTime),
		otlploggrpc.WithRetry(otlploggrpc.RetryConfig{Enabled: true, InitialInterval: time.Second, MaxInterval: 5 * time.Second, MaxElapsedTime: exportTime}))
	if err != nil {
		return err
	}
	sq := &queue{signal: telemetry.Spans, limit: spanQueue, ended: ctx, exports: c.Exports, losses: l}
	lq := &queue{signal: telemetry.Logs, limit: logQueue, ended: ctx, exports: c.Exports, losses: l}
	limits := sdktrace.NewSpanLimits()
	limits.AttributeValueLengthLimit = valueLength
	// Which requests are traced is decided before a span is made.
	e.traces = sdktrace.NewTracerProvider(sdktrace.WithResource(r), sdktrace.WithSampler(sdktrace.AlwaysSample()), sdktrace.WithRawSpanLimits(limits),
		sdktrace.WithSpanProcessor(spanProcessor{sdktrace.NewBatchSpanProcessor(spanExporter{spans, sq},
			sdktrace.WithMaxQueueSize(spanQueue+batch), sdktrace.WithMaxExportBatchSize(batch),
			sdktrace.WithBatchTimeout(interval), sdktrace.WithExportTimeout(exportTime)), sq}))
	e.tracer = e.traces.Tracer("granary")
	e.logs = sdklog.NewLoggerProvider(sdklog.WithResource(r), sdklog.WithAttributeValueLengthLimit(valueLength),
		sdklog.WithProcessor(logProcessor{sdklog.NewBatchProcessor(logExporter{logs, lq},
			sdklog.WithMaxQueueSize(logQueue+batch), sdklog.WithExportMaxBatchSize(batch),
			sdklog.WithExportInterval(interval), sdklog.WithExportTimeout(exportTime)), lq}))
	return nil
}

// describe says who sends. What OTEL_RESOURCE_ATTRIBUTES has is added by the
// providers.
func describe(c Config) *resource.Resource {
	attrs := []attribute.KeyValue{
		attribute.String("service.name", c.ServiceName),
		attribute.String("service.version", c.Version),
		attribute.String("service.instance.id", c.Instance),
		attribute.String("telemetry.sdk.name", "opentelemetry"),
		attribute.String("telemetry.sdk.language", "go"),
	}
	if c.Environment != "" {
		// The former name of the attribute is what many dashboards go by.
		attrs = append(attrs, attribute.String("deployment.environment.name", c.Environment), attribute.String("deployment.environment", c.Environment))
	}
	return resource.NewSchemaless(attrs...)
}

// Tracer makes spans that are sent.
func (e *Exporter) Tracer() trace.Tracer { return e.tracer }

// Close sends what waits, for FlushTime at most, and ends the exporter's
// goroutines. What comes later is lost.
func (e *Exporter) Close() error {
	late := time.AfterFunc(FlushTime, e.cancel)
	defer late.Stop()
	done := make(chan error, 1)
	go func() { done <- e.traces.Shutdown(context.Background()) }()
	err := e.logs.Shutdown(context.Background())
	if other := <-done; err == nil {
		err = other
	}
	e.cancel()
	if closed := e.conn.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("end telemetry: %w", err)
	}
	return nil
}
