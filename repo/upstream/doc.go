// Package upstream is the one HTTP client for upstreams: the servers whose
// files and documents cache repositories of every format keep copies of.
//
// # What it decides
//
// Where a request may go. The address that is dialled is judged on every hop,
// after names are resolved, whatever way it was spelled: link-local, multicast
// and metadata addresses are refused, and so is a private one once a public
// one was met on the way (Config.Deny and Config.Allow change that). Up to 10
// redirects are followed, to http and https only. Proxies named by environment
// variables are not used: they would hide the address from the guard.
//
// Who hears a secret. Credentials are sent with the first request, to the
// origin (scheme, host and port) of the repository's base URL and the hosts
// that the repository lists as realms, and to nobody else; once a redirect has
// led away from them, never again in that request. User info in URLs is
// dropped. A bearer challenge is answered with a token from its realm, which
// must be one of those hosts if there are credentials.
//
// How long it may take. Connecting, the first byte of an answer, the whole way
// through redirects and tokens to the first byte of the body, and each pause
// between bytes have limits. Large bodies that flow have none.
//
// Whether a host is asked at all. After 10 failures in a row a host is left
// alone for a second, then asked by one request; one that said Retry-After is
// left alone for that long. Requests meanwhile fail at once.
//
// Bytes are passed on exactly as they were sent: no encoding is asked for and
// none is undone. A body that ends early ends in an error.
package upstream
