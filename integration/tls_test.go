package integration_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"granary/integration/node"
)

// pairOf makes a key and a certificate of a name for 127.0.0.1.
func pairOf(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}

// replace puts a file in another's place as a renewal does: at once, or, in
// place, by writing over it.
func replace(t *testing.T, path string, content []byte, inPlace bool) {
	t.Helper()
	to := path
	if !inPlace {
		to = path + ".new"
	}
	if err := os.WriteFile(to, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(to, path); err != nil {
		t.Fatal(err)
	}
}

// A renewed certificate is shown to who connects from then on, connections that
// are there go on, and files that can't be used leave the old one in force.
func TestCertificateReload(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	cert, key := pairOf(t, "first")
	replace(t, certFile, cert, true)
	replace(t, keyFile, key, true)
	address := fmt.Sprintf("127.0.0.1:%d", freeTCPPort(t))
	n := node.Start(t, node.Options{Env: []string{
		"GRANARY_HTTPS_LISTEN=" + address, "GRANARY_HTTPS_CERT=" + certFile, "GRANARY_HTTPS_KEY=" + keyFile,
	}})
	// shown is the name in the certificate that a new connection gets.
	shown := func() string {
		t.Helper()
		c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(100 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s\n%s", what, n.Output())
			}
		}
	}
	if got := shown(); got != "first" {
		t.Fatalf("shown %q", got)
	}
	logged := func() int { return strings.Count(n.Output(), "read the renewed certificate") }

	// old is a client whose one connection was made under the first
	// certificate, and which trusts no other.
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	dials := 0
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, MaxConnsPerHost: 1}
	dial := new(net.Dialer).DialContext
	tr.DialContext = func(ctx context.Context, network, to string) (net.Conn, error) {
		dials++
		return dial(ctx, network, to)
	}
	t.Cleanup(tr.CloseIdleConnections)
	old := &http.Client{Transport: tr, Timeout: time.Minute}
	alive := func(when string) {
		t.Helper()
		res, err := old.Get("https://" + address + "/api/v1/health")
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		defer res.Body.Close()
		if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != 200 || dials != 1 {
			t.Errorf("%s: %d, %v, %d connections", when, res.StatusCode, err, dials)
		}
	}
	alive("at first")

	cert, key = pairOf(t, "second")
	replace(t, keyFile, key, false)
	until("a key that does not fit is not told of", func() bool { shown(); return logged() > 0 })
	if got := shown(); got != "first" {
		t.Errorf("between the renewal of the one file and of the other: %q", got)
	}
	replace(t, certFile, cert, false)
	until("the renewed certificate is not shown", func() bool { return shown() == "second" })
	alive("after the renewal")

	for name, broken := range map[string][]byte{
		"empty": {}, "cut": cert[:len(cert)/2], "no certificate": []byte("hello"), "another's": func() []byte { c, _ := pairOf(t, "third"); return c }(),
	} {
		before := logged()
		replace(t, certFile, broken, true)
		until(name+": not told of", func() bool { shown(); return logged() > before })
		if got := shown(); got != "second" {
			t.Errorf("%s: %q", name, got)
		}
	}
	before := logged()
	if err := os.Remove(certFile); err != nil {
		t.Fatal(err)
	}
	until("a file that is gone is not told of", func() bool { shown(); return logged() > before })
	alive("after broken files")
	replace(t, certFile, cert, false)
	cert, key = pairOf(t, "fourth")
	replace(t, certFile, cert, false)
	replace(t, keyFile, key, false)
	until("the next renewal is not shown", func() bool { return shown() == "fourth" })
	alive("after the second renewal")
	if strings.Contains(n.Output(), "PRIVATE KEY") {
		t.Error("the log has a key")
	}
}
