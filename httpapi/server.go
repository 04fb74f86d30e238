package httpapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Limits of connections. Bodies have no time limit as long as they move; see
// [Config].Stall.
const (
	headerTime   = 20 * time.Second // for request headers to arrive
	idleTime     = 3 * time.Minute  // between requests of one connection
	headerBytes  = 64 << 10         // of a request
	pingTime     = 30 * time.Second // of silence before an HTTP/2 peer is asked for a sign of life
	pingWait     = 15 * time.Second
	maxStreams   = 250
	shutdownTime = 15 * time.Second
)

// ServerConfig says how connections are served.
type ServerConfig struct {
	Handler http.Handler
	// TLS, if set, serves HTTPS with HTTP/2. GetCertificate or
	// GetConfigForClient may bring a new certificate at any time.
	TLS *tls.Config
	// Stall is how long a client may take nothing of an answer; 0 is a minute.
	Stall time.Duration
	// Shutdown is how long running requests get when the server stops; 0 is
	// 15 s.
	Shutdown time.Duration
	Log      *slog.Logger // optional
}

// Server serves one handler on any number of listeners.
type Server struct {
	http     *http.Server
	stall    time.Duration
	shutdown time.Duration
	tls      *tls.Config
}

// NewServer makes a server; it begins with Serve.
func NewServer(c ServerConfig) *Server {
	if c.Stall == 0 {
		c.Stall = time.Minute
	}
	if c.Shutdown == 0 {
		c.Shutdown = shutdownTime
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{stall: c.Stall, shutdown: c.Shutdown, tls: c.TLS}
	s.http = &http.Server{
		Handler:           c.Handler,
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    headerBytes,
		ConnContext:       withConn,
		ErrorLog:          log.New(logWriter{c.Log}, "", 0),
		// OPTIONS * is answered by the handler like any other request.
		DisableGeneralOptionsHandler: true,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams,
			SendPingTimeout:      pingTime,
			PingTimeout:          pingWait,
			WriteByteTimeout:     c.Stall,
		},
	}
	return s
}

// logWriter takes what net/http says of connections: clients that don't speak
// TLS, and the like. Panics of handlers never come here.
type logWriter struct{ log *slog.Logger }

func (w logWriter) Write(p []byte) (int, error) {
	w.log.Debug("connection", "message", string(p))
	return len(p), nil
}

// Serve answers requests on l until Close. It returns nil then.
func (s *Server) Serve(l net.Listener) error {
	var err error
	wrapped := listener{Listener: l, stall: s.stall, pages: &sync.Pool{New: func() any { return new(page) }}}
	if s.tls != nil {
		s.http.TLSConfig = s.tls.Clone()
		err = s.http.ServeTLS(wrapped, "", "")
	} else {
		err = s.http.Serve(wrapped)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve on %s: %w", l.Addr(), err)
}

// Close takes no more connections, closes those that are idle, and lets
// running requests end for the time of ServerConfig.Shutdown; then it cuts
// them off, which is the error it returns.
func (s *Server) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.shutdown)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err == nil {
		return nil
	}
	return errors.Join(fmt.Errorf("requests were still running: %w", err), s.http.Close())
}

var _ io.ReaderFrom = (*conn)(nil)
