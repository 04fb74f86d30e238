package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"granary/formats"
)

func TestClassify(t *testing.T) {
	for want, list := range map[class][]string{
		public: {
			"203.0.113.1", "8.8.8.8", "172.15.255.255", "172.32.0.0", "100.128.0.0", "2606:4700::1111", "::ffff:8.8.8.8",
			"64:ff9b::8.8.8.8", "2002:808:808::1", "2001:db8::1",
		},
		private: {
			"127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
			"100.64.0.1", "198.18.0.1", "192.0.0.1", "fc00::1", "fd12:3456::1", "fec0::1", "64:ff9b::10.0.0.1", "64:ff9b:1::1",
			"2002:7f00:1::", "2002:a00:1::1", "::127.0.0.1", "::ffff:0:10.0.0.1", "2001:0:0:0:0:0:80ff:fffe",
		},
		never: {
			"0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0", "169.254.169.254", "169.254.0.1", "::ffff:169.254.169.254", "::ffff:a9fe:a9fe",
			"::169.254.169.254", "64:ff9b::169.254.169.254", "2002:a9fe:a9fe::1", "fe80::1", "fe80::1%eth0", "febf::1", "224.0.0.1",
			"239.255.255.255", "ff02::1", "255.255.255.255", "240.0.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192",
			"fd00:ec2::254", "fd20:ce::254", "2001:0:0:0:0:0:5601:5601",
		},
	} {
		for _, s := range list {
			if got := classify(netip.MustParseAddr(s)); got != want {
				t.Errorf("classify(%s) = %d, want %d", s, got, want)
			}
		}
	}
}

func prefixes(list ...string) []netip.Prefix {
	var p []netip.Prefix
	for _, s := range list {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

func TestPermits(t *testing.T) {
	for _, tt := range []struct {
		deny, allow       []netip.Prefix
		addr              string
		direct, afterward bool
	}{
		{nil, nil, "203.0.113.1", true, true},
		{nil, nil, "127.0.0.1", true, false},
		{nil, nil, "10.1.2.3", true, false},
		{nil, nil, "169.254.169.254", false, false},
		{prefixes("10.0.0.0/8"), nil, "10.1.2.3", false, false},
		{prefixes("10.0.0.0/8"), nil, "::ffff:10.1.2.3", false, false},
		{prefixes("::ffff:10.0.0.0/104"), nil, "10.1.2.3", false, false},
		{prefixes("10.0.0.0/8"), prefixes("10.1.0.0/16"), "10.1.2.3", true, true},
		{prefixes("10.1.0.0/16"), prefixes("10.0.0.0/8"), "10.1.2.3", false, false},
		{prefixes("10.1.0.0/16"), prefixes("10.1.0.0/16"), "10.1.2.3", false, false},
		{nil, prefixes("169.254.0.0/16"), "169.254.169.254", true, true},
		{prefixes("0.0.0.0/0", "::/0"), nil, "203.0.113.1", false, false},
		{prefixes("0.0.0.0/0", "::/0"), prefixes("203.0.113.0/24"), "203.0.113.1", true, true},
	} {
		g := guard{deny: unmapped(tt.deny), allow: unmapped(tt.allow)}
		a := netip.MustParseAddr(tt.addr)
		if d, l := g.permits(a, false), g.permits(a, true); d != tt.direct || l != tt.afterward {
			t.Errorf("deny %v, allow %v: %s %v, afterwards %v", tt.deny, tt.allow, tt.addr, d, l)
		}
	}
}

func TestGuardJudgesWhatIsDialled(t *testing.T) {
	w := newWorld(t)
	w.serve("public.test", "203.0.113.1", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+strings.TrimPrefix(r.URL.Path, "/to/"), http.StatusFound)
	})
	w.serve("other.test", "203.0.113.2", text("public"))
	w.serve("private.test", "10.0.0.1", text("private"))
	w.serve("local.test", "127.0.0.1", text("local"))
	w.serve("metadata.test", "169.254.169.254", text("metadata"))
	w.serve("v6.test", "64:ff9b::a9fe:a9fe", text("metadata"))
	w.names["mapped.test"] = "::ffff:169.254.169.254"
	c := w.client(Config{})

	mustGet(t, c, Request{Base: "http://private.test/"}, "private")
	mustGet(t, c, Request{Base: "http://10.0.0.1/"}, "private")
	mustGet(t, c, Request{Base: "http://local.test/"}, "local")
	mustGet(t, c, Request{Base: "http://public.test/to/other.test/"}, "public")
	for _, url := range []string{
		"http://metadata.test/", "http://mapped.test/", "http://v6.test/", "http://169.254.169.254/", "http://[::ffff:169.254.169.254]/",
		"http://[::ffff:a9fe:a9fe]/", "http://0.0.0.0/", "http://[::]/", "http://[fe80::1]/", "http://224.0.0.1/",
	} {
		mustFail(t, c, Request{Base: url}, ErrAddress)
		mustFail(t, c, Request{Base: "http://public.test/to/" + strings.TrimPrefix(url, "http://")}, ErrAddress)
	}
	mustFail(t, c, Request{Base: "http://[fe80::1%25eth0]/"}, ErrAddress)
	// Connections to private addresses were kept above. A redirect from a
	// public one must not find them.
	for _, host := range []string{"private.test", "10.0.0.1", "local.test", "127.0.0.1", "[::ffff:10.0.0.1]"} {
		e := mustFail(t, c, Request{Base: "http://public.test/to/" + host + "/"}, ErrAddress)
		if !errors.Is(e, formats.ErrUpstream) {
			t.Errorf("%s: %v", host, e)
		}
	}
	if slices.Contains(w.dialed, "169.254.169.254:80") || slices.Contains(w.dialed, "[64:ff9b::a9fe:a9fe]:80") {
		t.Errorf("dialled %q", w.dialed)
	}
	// What was refused is not a failure of the host.
	mustGet(t, c, Request{Base: "http://private.test/"}, "private")
}

func TestGuardOfSpellings(t *testing.T) {
	w := newWorld(t)
	// As the system's resolver may read them.
	for _, s := range []string{"2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518"} {
		w.names[s] = "169.254.169.254"
		mustFail(t, w.client(Config{}), Request{Base: "http://" + s + "/"}, ErrAddress)
	}
}

func TestGuardOfChains(t *testing.T) {
	w := newWorld(t)
	w.serve("private.test", "10.0.0.1", redirect("http://second.test/"))
	w.serve("second.test", "10.0.0.2", redirect("http://public.test/"))
	w.serve("public.test", "203.0.113.1", redirect("http://third.test/"))
	w.serve("third.test", "10.0.0.3", text("third"))
	mustFail(t, w.client(Config{}), Request{Base: "http://private.test/"}, ErrAddress)
	mustGet(t, w.client(Config{Allow: prefixes("10.0.0.3/32")}), Request{Base: "http://private.test/"}, "third")
	mustFail(t, w.client(Config{Deny: prefixes("10.0.0.2/32")}), Request{Base: "http://private.test/"}, ErrAddress)
}

// A link in a public upstream's document leads no further than its redirect.
func TestGuardOfLinks(t *testing.T) {
	w := newWorld(t)
	w.serve("public.test", "203.0.113.1", text("public"))
	w.serve("private.test", "10.0.0.1", text("private"))
	c := w.client(Config{})
	mustFail(t, c, Request{Base: "http://public.test/", Ref: "http://private.test/"}, ErrAddress)
	mustFail(t, c, Request{Base: "http://unknown.test/", Ref: "http://private.test/"}, ErrAddress)
	mustGet(t, c, Request{Base: "http://private.test/", Ref: "http://public.test/"}, "public")
	mustGet(t, c, Request{Base: "http://10.0.0.1/", Ref: "http://private.test/"}, "private")
}

func TestSomeAddressesAreRefused(t *testing.T) {
	w := newWorld(t)
	w.serve("a.test", "203.0.113.1", text("x"))
	c := w.client(Config{})
	c.guard.resolve = func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("203.0.113.1")}, nil
	}
	mustGet(t, c, Request{Base: "http://a.test/"}, "x")
	if slices.Contains(w.dialed, "169.254.169.254:80") || !slices.Contains(w.dialed, "203.0.113.9:80") {
		t.Errorf("dialled %q", w.dialed)
	}
}

// A dead address leaves time for the next one.
func TestDeadAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.serveInMemory("a.test", "203.0.113.1", text("x"))
		c := w.client(Config{Timeouts: Timeouts{Connect: 200 * time.Millisecond}})
		c.guard.resolve = func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("203.0.113.1")}, nil
		}
		dial := c.guard.dial
		c.guard.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if strings.HasPrefix(address, "203.0.113.9:") {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return dial(ctx, network, address)
		}
		mustGet(t, c, Request{Base: "http://a.test/"}, "x")
	})
}

func TestRedirects(t *testing.T) {
	w := newWorld(t)
	w.serve("a.test", "203.0.113.1", func(rw http.ResponseWriter, r *http.Request) {
		var n int
		if _, err := fmt.Sscanf(r.URL.Path, "/%d", &n); err == nil && n > 0 {
			http.Redirect(rw, r, fmt.Sprintf("/%d?q", n-1), []int{301, 302, 303, 307, 308}[n%5])
			return
		}
		switch r.URL.Path {
		case "/0":
			io.WriteString(rw, r.Method+" "+r.URL.RawQuery) //nolint:errcheck // a test's server
		case "/ftp":
			rw.Header().Set("Location", "ftp://a.test/")
			rw.WriteHeader(302)
		case "/file":
			rw.Header().Set("Location", "file:///etc/passwd")
			rw.WriteHeader(302)
		case "/nowhere":
			rw.WriteHeader(302)
		case "/garbage":
			rw.Header().Set("Location", "http://[")
			rw.WriteHeader(302)
		case "/loop":
			http.Redirect(rw, r, "/loop", 302)
		}
	})
	c := w.client(Config{})
	mustGet(t, c, Request{Base: "http://a.test/", Ref: "10"}, "GET q")
	resp, err := c.Get(t.Context(), Request{Base: "http://a.test/", Ref: "3"})
	if err != nil || resp.URL != "http://a.test/0?q" {
		t.Errorf("%+v, %v", resp, err)
	}
	resp.Body.Close() //nolint:errcheck // read only
	for _, ref := range []string{"11", "ftp", "file", "nowhere", "garbage", "loop"} {
		e := mustFail(t, c, Request{Base: "http://a.test/", Ref: ref}, formats.ErrUpstream)
		if e.Status < 300 || e.Status > 399 {
			t.Errorf("%s: %v", ref, e)
		}
	}
}

func FuzzClassify(f *testing.F) {
	for _, s := range []string{"169.254.169.254", "::1", "64:ff9b::a9fe:a9fe", "2001::1"} {
		b := netip.MustParseAddr(s).As16()
		f.Add(b[:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		c := classify(a)
		if (a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified()) && c != never {
			t.Errorf("%v is %d", a, c)
		}
		if (a.IsLoopback() || a.IsPrivate()) && c == public {
			t.Errorf("%v is public", a)
		}
		if a.Is4() {
			v6 := a.As16()
			if got := classify(netip.AddrFrom16(v6)); got != c {
				t.Errorf("%v is %d, mapped %d", a, c, got)
			}
			copy(v6[:], netip.MustParseAddr("64:ff9b::").AsSlice()[:12])
			if got := classify(netip.AddrFrom16(v6)); got != c {
				t.Errorf("%v is %d, as NAT64 %d", a, c, got)
			}
		}
	})
}
