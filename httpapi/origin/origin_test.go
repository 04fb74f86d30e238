package origin

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func request(peer string, header ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Host, r.RemoteAddr = "granary.example.com:8080", peer
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

func TestBase(t *testing.T) {
	const loopback, private, public = "127.0.0.1:1", "10.1.2.3:1", "198.51.100.7:1"
	tests := []struct {
		name     string
		external string
		proxies  []string
		r        *http.Request
		want     string
	}{
		{"plain", "", nil, request(public), "http://granary.example.com:8080"},
		{"external wins", "https://repo.example.com/x/", nil, request(loopback, "X-Forwarded-Proto", "http"), "https://repo.example.com/x"},
		{"loopback is believed", "", nil, request(loopback, "X-Forwarded-Proto", "https", "X-Forwarded-Host", "repo.example.com", "X-Forwarded-Prefix", "/art/"), "https://repo.example.com/art"},
		{"private is believed", "", nil, request(private, "X-Forwarded-Proto", "https, http"), "https://granary.example.com:8080"},
		{"public is not", "", nil, request(public, "X-Forwarded-Proto", "https", "X-Forwarded-Host", "evil.example.com"), "http://granary.example.com:8080"},
		{"public proxy", "", []string{"198.51.100.0/24"}, request(public, "X-Forwarded-Proto", "https"), "https://granary.example.com:8080"},
		{"private, but not the proxy", "", []string{"198.51.100.0/24"}, request(private, "X-Forwarded-Proto", "https"), "http://granary.example.com:8080"},
		{"port", "", nil, request(loopback, "X-Forwarded-Proto", "https", "X-Forwarded-Port", "8443"), "https://granary.example.com:8443"},
		{"default port", "", nil, request(loopback, "X-Forwarded-Proto", "https", "X-Forwarded-Port", "443"), "https://granary.example.com"},
		{"forwarded", "", nil, request(loopback, "Forwarded", `for=192.0.2.1;proto=https;host="repo.example.com:444"`), "https://repo.example.com:444"},
		{"garbage is ignored", "", nil, request(loopback, "X-Forwarded-Proto", "gopher", "X-Forwarded-Host", `a"><script>`, "X-Forwarded-Prefix", "//evil.example.com", "X-Forwarded-Port", "0x1"), "http://granary.example.com:8080"},
	}
	for _, tt := range tests {
		p, err := New(tt.external, tt.proxies)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Base(tt.r); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	r := request(public)
	r.TLS = &tls.ConnectionState{}
	if got := (&Policy{}).Base(r); !strings.HasPrefix(got, "https://") {
		t.Errorf("over TLS: %s", got)
	}
	r.Host = `x"y`
	if got := (&Policy{}).Base(r); strings.Contains(got, `"`) {
		t.Errorf("crafted host: %s", got)
	}
}

func TestClient(t *testing.T) {
	tests := []struct {
		name    string
		proxies []string
		r       *http.Request
		want    string
	}{
		{"peer", nil, request("198.51.100.7:1"), "198.51.100.7"},
		{"nothing is believed by default", nil, request("127.0.0.1:1", "X-Forwarded-For", "192.0.2.1"), "127.0.0.1"},
		{"proxy", []string{"127.0.0.1"}, request("127.0.0.1:1", "X-Forwarded-For", "192.0.2.1"), "192.0.2.1"},
		{"client invents the first", []string{"127.0.0.1"}, request("127.0.0.1:1", "X-Forwarded-For", "203.0.113.9, 192.0.2.1"), "192.0.2.1"},
		{"chain of proxies", []string{"127.0.0.1", "10.0.0.0/8"}, request("127.0.0.1:1", "X-Forwarded-For", "192.0.2.1, 10.0.0.2", "X-Forwarded-For", "10.0.0.3"), "192.0.2.1"},
		{"garbage ends the chain", []string{"127.0.0.1"}, request("127.0.0.1:1", "X-Forwarded-For", "192.0.2.1, unknown"), "127.0.0.1"},
		{"forwarded", []string{"127.0.0.1"}, request("127.0.0.1:1", "Forwarded", `for="[2001:db8::1]:4711"`), "2001:db8::1"},
		{"mapped", []string{"127.0.0.1"}, request("[::ffff:127.0.0.1]:1", "X-Forwarded-For", "::ffff:192.0.2.1"), "192.0.2.1"},
	}
	for _, tt := range tests {
		p, err := New("", tt.proxies)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Client(tt.r); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, external := range []string{"ftp://x", "example.com", "https://", "https://u:p@example.com", "https://example.com/?q"} {
		if _, err := New(external, nil); err == nil {
			t.Errorf("external_url %q accepted", external)
		}
	}
	for _, proxy := range []string{"", "x", "10.0.0.0/33"} {
		if _, err := New("", []string{proxy}); err == nil {
			t.Errorf("trusted proxy %q accepted", proxy)
		}
	}
}

func FuzzForwarded(f *testing.F) {
	f.Add("a.example.com", "/x", `for=1.2.3.4;proto=https;host="x"`)
	f.Fuzz(func(t *testing.T, host, prefix, forwarded string) {
		r := request("127.0.0.1:1", "X-Forwarded-Host", host, "X-Forwarded-Prefix", prefix, "Forwarded", forwarded, "X-Forwarded-For", host)
		p := &Policy{}
		if base := p.Base(r); strings.ContainsAny(base, "\"'<>\\ \x00\n") || strings.HasSuffix(base, "/") {
			t.Fatalf("Base = %q", base)
		}
		p.Client(r)
	})
}
