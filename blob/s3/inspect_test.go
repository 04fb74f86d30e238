package s3

import (
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"granary/blob/check"
)

func TestReview(t *testing.T) {
	days := &types.LifecycleExpiration{Days: aws.Int32(30)}
	prefix := func(p string) *types.LifecycleRuleFilter { return &types.LifecycleRuleFilter{Prefix: &p} }
	cold := []types.Transition{{StorageClass: types.TransitionStorageClassDeepArchive}}
	warm := []types.Transition{{StorageClass: types.TransitionStorageClassStandardIa}}
	for _, c := range []struct {
		name    string
		rule    types.LifecycleRule
		harmful bool
	}{
		{"all", types.LifecycleRule{Expiration: days}, true},
		{"ours", types.LifecycleRule{Expiration: days, Filter: prefix("a/b/")}, true},
		{"above ours", types.LifecycleRule{Expiration: days, Filter: prefix("a")}, true},
		{"below ours", types.LifecycleRule{Expiration: days, Filter: prefix("a/b/5f")}, true},
		{"old form", types.LifecycleRule{Expiration: days, Prefix: aws.String("a/")}, true},              //nolint:staticcheck // stores in the field still answer so
		{"old form beside ours", types.LifecycleRule{Expiration: days, Prefix: aws.String("b/")}, false}, //nolint:staticcheck // as above
		{"beside ours", types.LifecycleRule{Expiration: days, Filter: prefix("a/c/")}, false},
		{"tagged", types.LifecycleRule{Expiration: days, Filter: &types.LifecycleRuleFilter{Tag: &types.Tag{}}}, false},
		{"tagged and more", types.LifecycleRule{Expiration: days, Filter: &types.LifecycleRuleFilter{And: &types.LifecycleRuleAndOperator{Tags: []types.Tag{{}}}}}, false},
		{"by size", types.LifecycleRule{Expiration: days, Filter: &types.LifecycleRuleFilter{And: &types.LifecycleRuleAndOperator{Prefix: aws.String("a/")}}}, true},
		{"delete markers", types.LifecycleRule{Expiration: &types.LifecycleExpiration{ExpiredObjectDeleteMarker: aws.Bool(true)}}, false},
		{"archive", types.LifecycleRule{Transitions: cold}, true},
		{"cheaper class", types.LifecycleRule{Transitions: warm}, false},
	} {
		c.rule.Status = types.ExpirationStatusEnabled
		if got := review([]types.LifecycleRule{c.rule}, "a/b/"); (len(got.harmful) > 0) != c.harmful {
			t.Errorf("%s: harmful: %v, want %v", c.name, got.harmful, c.harmful)
		}
		c.rule.Status = types.ExpirationStatusDisabled
		if got := review([]types.LifecycleRule{c.rule}, "a/b/"); len(got.harmful) > 0 {
			t.Errorf("%s, disabled: harmful: %v", c.name, got.harmful)
		}
	}
	f := review([]types.LifecycleRule{{
		Status: types.ExpirationStatusEnabled, Filter: prefix("a/"),
		AbortIncompleteMultipartUpload: &types.AbortIncompleteMultipartUpload{},
		NoncurrentVersionExpiration:    &types.NoncurrentVersionExpiration{},
	}}, "a/b/")
	if !f.aborts || !f.expiresNoncurrent {
		t.Errorf("review = %+v, want both", f)
	}
}

func xml(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		w.Write([]byte(body))
	}
}

// The check refuses a bucket that loses blobs, advises on one that costs more
// than needed, and takes a store that knows no rules as it is.
func TestInspect(t *testing.T) {
	rules := func(inner string) http.HandlerFunc {
		return xml(`<LifecycleConfiguration><Rule><ID>r</ID><Status>Enabled</Status><Filter><Prefix></Prefix></Filter>` + inner + `</Rule></LifecycleConfiguration>`)
	}
	abort := `<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>`
	enabled := xml(`<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>`)
	none := xml(`<VersioningConfiguration></VersioningConfiguration>`)
	for _, c := range []struct {
		name                  string
		lifecycle, versioning http.HandlerFunc
		warnings              int
		err                   string
	}{
		{"unknown", answer(501, "NotImplemented"), answer(501, "NotImplemented"), 0, ""},
		{"nothing set", answer(404, "NoSuchLifecycleConfiguration"), none, 1, ""},
		{"abort rule", rules(abort), none, 0, ""},
		{"versions for ever", rules(abort), enabled, 1, ""},
		{"versions expire", rules(abort + `<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>`), enabled, 0, ""},
		{"expiry", rules(abort + `<Expiration><Days>9</Days></Expiration>`), none, 0, "expires objects"},
		{"not allowed to see", answer(403, "AccessDenied"), answer(403, "AccessDenied"), 1, ""},
		{"broken", answer(400, "InvalidRequest"), none, 0, "lifecycle rules"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := proxied(t, 0, false, func(r *http.Request) http.HandlerFunc {
				switch q := r.URL.Query(); {
				case q.Has("lifecycle"):
					return c.lifecycle
				case q.Has("versioning"):
					return c.versioning
				}
				return nil
			})
			warnings, err := s.Inspect(t.Context())
			if len(warnings) != c.warnings || (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("Inspect = %q, %v, want %d warnings, error %q", warnings, err, c.warnings, c.err)
			}
			if c.err == "" && c.warnings == 0 {
				return
			}
			if err := check.Err(check.Run(t.Context(), s)); (err != nil) != (c.err != "") {
				t.Errorf("check = %v, want error %q", err, c.err)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	good := Config{Bucket: "bucket", AccessKey: "a", SecretKey: "b"}
	for name, change := range map[string]func(*Config){
		"no bucket":         func(c *Config) { c.Bucket = "" },
		"bucket with slash": func(c *Config) { c.Bucket = "buc/ket" },
		"retry mode":        func(c *Config) { c.RetryMode = "fast" },
		"retries":           func(c *Config) { c.MaxRetries = -1 },
		"half a key":        func(c *Config) { c.SecretKey = "" },
		"endpoint":          func(c *Config) { c.Endpoint = "127.0.0.1:9000" },
		"other scheme":      func(c *Config) { c.Endpoint = "ftp://x" },
		"user in endpoint":  func(c *Config) { c.Endpoint = "http://u:p@x" },
		"prefix upwards":    func(c *Config) { c.Prefix = "a/../b" },
		"prefix with NUL":   func(c *Config) { c.Prefix = "a\x00" },
		"prefix not UTF-8":  func(c *Config) { c.Prefix = "a\xff" },
		"empty segment":     func(c *Config) { c.Prefix = "a//b" },
		"long prefix":       func(c *Config) { c.Prefix = strings.Repeat("x", 600) },
	} {
		cfg := good
		change(&cfg)
		if _, err := Open(t.Context(), cfg); err == nil {
			t.Errorf("%s: Open succeeded", name)
		}
	}
	for _, mode := range []string{"", "standard", "adaptive"} {
		good.RetryMode = mode
		if _, err := Open(t.Context(), good); err != nil {
			t.Errorf("retry mode %q: %v", mode, err)
		}
	}
}
