package auth

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
)

func FuzzParseHeader(f *testing.F) {
	for _, s := range []string{
		"", "Basic", "Basic ", "Basic Og==", "basic YWRtaW46eA==", "Bearer", "Bearer  x.y.z ", "Digest a=b",
		"Basic YWRtaW46eDp5", "Basic \x00", "Bearer\tx", "BASIC YWRtaW4=",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		c, err := parseHeader(http.Header{"Authorization": {value}})
		if err != nil {
			if c != (credential{}) {
				t.Errorf("%q: an error and yet credentials", value)
			}
			return
		}
		switch c.method {
		case JWT:
			if c.secret == "" || !strings.Contains(value, string(c.secret)) {
				t.Errorf("%q: token %q", value, string(c.secret))
			}
		case Basic:
			if strings.Contains(c.name, ":") {
				t.Errorf("%q: name %q", value, c.name)
			}
			pair := base64.StdEncoding.EncodeToString([]byte(c.name + ":" + string(c.secret)))
			again, err := parseHeader(http.Header{"Authorization": {"Basic " + pair}})
			if err != nil || again != c {
				t.Errorf("%q does not come back: %v", value, err)
			}
		default:
			t.Errorf("%q: taken for %s", value, c.method)
		}
	})
}

func TestPasswordWithColon(t *testing.T) {
	c, err := parseHeader(http.Header{"Authorization": {basic("ann", "a:b:c")}})
	if err != nil || c.name != "ann" || string(c.secret) != "a:b:c" {
		t.Errorf("got %q, %q, %v", c.name, string(c.secret), err)
	}
}
