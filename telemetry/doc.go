// Package telemetry is what operators see of the server: Prometheus metrics,
// the request log, and a log writer that does not make requests wait for it.
//
// Label values come from fixed sets. Methods, paths and names that a client
// can invent never become one.
package telemetry
