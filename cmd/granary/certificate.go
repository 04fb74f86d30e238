package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificate is a pair of files that are read again when one of them changes,
// so that a renewal needs no restart.
type certificate struct {
	cert, key string
	log       *slog.Logger

	mu     sync.Mutex
	loaded *tls.Certificate // guarded by mu, as all below
	times  [2]time.Time
	looked time.Time
	told   string // the last complaint
}

// lookEvery is how often the files are looked at, when there are handshakes.
const lookEvery = time.Second

func (c *certificate) load() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.loadLocked()
}

func (c *certificate) loadLocked() error {
	times, err := c.modified()
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("https.cert %s and https.key %s: %w", c.cert, c.key, err)
	}
	c.loaded, c.times, c.looked, c.told = &pair, times, time.Now(), ""
	return nil
}

func (c *certificate) modified() (times [2]time.Time, err error) {
	for i, path := range []string{c.cert, c.key} {
		st, err := os.Stat(path)
		if err != nil {
			return times, fmt.Errorf("certificate: %w", err)
		}
		times[i] = st.ModTime()
	}
	return times, nil
}

// get keeps the certificate at hand where a new one can't be read, such as in
// the moment between the renewal of the one file and of the other.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) < lookEvery {
		return c.loaded, nil
	}
	c.looked = time.Now()
	if times, err := c.modified(); err == nil && times == c.times {
		return c.loaded, nil
	}
	if err := c.loadLocked(); err != nil {
		times, _ := c.modified()
		if complaint := fmt.Sprint(times, err); complaint != c.told {
			c.told = complaint
			c.log.Error("read the renewed certificate; the one at hand stays in force", "error", err)
		}
	}
	return c.loaded, nil
}
