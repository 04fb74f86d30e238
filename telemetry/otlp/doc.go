// Package otlp sends spans and log lines to a collector of OpenTelemetry, by
// OTLP over gRPC.
//
// Nobody waits for the collector. What is to be sent waits in memory, in a
// bounded number; what comes when that is reached is dropped and counted, and
// so is what the collector does not take. A goroutine for each signal sends
// what has come together about each second. [Exporter.Close] sends the rest
// and gives up after [FlushTime].
//
// What becomes a span is decided in [granary/telemetry/spans].
package otlp
