package httpapi

import (
	"net/http"
	"strings"

	"granary/formats"
	"granary/httpapi/exchange"
	"granary/httpapi/requestpath"
)

// challenge adds the formats' own to a 401 below /repository/. All are asked:
// the answer must not tell what the repository is, or whether there is one.
func (s *server) challenge(x *exchange.Exchange, h http.Header, r *http.Request) {
	r, ok := sited(x, r)
	if !ok {
		return
	}
	for _, f := range s.Formats {
		if c, ok := f.(formats.Challenger); ok {
			if v := c.Challenge(r); v != "" {
				h.Add("Www-Authenticate", v)
			}
		}
	}
}

// speaking finds the format whose client sends a request below /repository/,
// nil if none knows it.
func (s *server) speaking(x *exchange.Exchange, r *http.Request) formats.Format {
	r, ok := sited(x, r)
	if !ok {
		return nil
	}
	for _, f := range s.Formats {
		if c, ok := f.(formats.Speaker); ok && c.Speaks(r) {
			return f
		}
	}
	return nil
}

// sited tells a request where it is, false if that is in no repository.
func sited(x *exchange.Exchange, r *http.Request) (*http.Request, bool) {
	t, err := requestpath.Parse(r.URL.Path)
	if err != nil || !strings.HasPrefix(r.URL.Path, requestpath.Prefix) {
		return r, false
	}
	return r.WithContext(formats.WithSite(r.Context(), formats.Site{URL: siteURL(x, t), Path: t.Path})), true
}

func siteURL(x *exchange.Exchange, t requestpath.Target) string {
	return x.Base() + requestpath.Prefix + t.Name()
}

// site tells a call where it is.
func (a *artifact) site() (formats.Site, error) {
	site := formats.Site{URL: siteURL(a.x, a.target), Path: a.target.Path, Public: !a.x.Credentials()}
	if site.Public {
		return site, nil // and was let in
	}
	id, err := a.s.nobody(a.r)
	if err != nil {
		return site, err
	}
	site.Public = id.Can(string(formats.VerbRead), a.target.Repository)
	return site, nil
}
