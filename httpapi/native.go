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
	t, err := requestpath.Parse(r.URL.Path)
	if err != nil || !strings.HasPrefix(r.URL.Path, requestpath.Prefix) {
		return
	}
	r = r.WithContext(formats.WithSite(r.Context(), formats.Site{URL: siteURL(x, t), Path: t.Path}))
	for _, f := range s.Formats {
		if c, ok := f.(formats.Challenger); ok {
			if v := c.Challenge(r); v != "" {
				h.Add("Www-Authenticate", v)
			}
		}
	}
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
	nobody := *a.r
	nobody.Header = http.Header{}
	id, err := a.s.Auth.Authenticate(a.r.Context(), &nobody)
	if err != nil {
		return site, err
	}
	site.Public = id.Can(string(formats.VerbRead), a.target.Repository)
	return site, nil
}
