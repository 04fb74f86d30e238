// Package spans decides what is traced and makes spans of it: one for a
// request or a task, and below it one for each call to a store and each request
// to an upstream.
//
// # What is traced
//
// A request that carries a W3C traceparent goes on with that trace, and its
// sampled flag is followed; others are traced by a ratio of their trace ids. A
// number of new traces a second is never exceeded, whoever asks for them.
// Whether a request is traced is decided before anything is made for it: one
// that is not costs no allocation.
//
// # What is told
//
// What is in the request log, and no more: no queries, no headers, no keys of
// stores. Names of spans come from fixed sets; a path that a client sends is an
// attribute.
//
// A nil [*Tracer] traces nothing, and what it returns does nothing.
package spans
