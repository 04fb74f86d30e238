package httpapi

import "net/http"

// mayBeSmuggled tells requests that carried Content-Length beside
// Transfer-Encoding: chunked, or may have: net/http drops the former before a
// handler sees it. A proxy in front may have gone by the length, so what
// follows on the connection is not run as another request (RFC 9112 §6.3).
//
// [Server] knows of its plain connections whether a length was ever sent on
// them; others, for which c is nil, are closed after every chunked request.
func mayBeSmuggled(r *http.Request, c *conn) bool {
	if r.ProtoMajor != 1 || len(r.TransferEncoding) == 0 {
		return false
	}
	return c == nil || c.sawLength()
}
