package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"granary/kv"
)

// scene is a fixed world: members h1, h2 (raw), c1 (a raw cache), g1 (golang),
// groups p1 … p8, each within the next, and the group q1 that none contains.
func scene() Known {
	k := Known{
		Formats:      testFormats,
		Stores:       map[string]*Store{"s": {ID: "s", Name: "default", Type: File, Root: "/data/blobs"}},
		Repositories: map[string]*Repository{},
	}
	add := func(id string, t Type, format string, members ...string) {
		k.Repositories[id] = &Repository{ID: id, Name: id, Type: t, Format: format, Members: members}
	}
	add("h1", Hosted, "raw")
	add("h2", Hosted, "raw")
	add("c1", Cache, "raw")
	add("g1", Hosted, "golang")
	add("d1", Hosted, "docker")
	add("p1", Proxy, "raw", "h1")
	add("q1", Proxy, "raw", "h1")
	for i := 2; i <= 8; i++ {
		add(fmt.Sprintf("p%d", i), Proxy, "raw", fmt.Sprintf("p%d", i-1))
	}
	return k
}

func TestValidateRepository(t *testing.T) {
	base := func(typ Type, format string) func(*Repository) {
		return func(r *Repository) {
			r.Type, r.Format = typ, format
			switch typ {
			case Cache:
				r.UpstreamURL = "https://registry.example.com/base/"
			case Proxy:
				r.Members = []string{"h1"}
			}
		}
	}
	raw, cached, grouped := base(Hosted, "raw"), base(Cache, "raw"), base(Proxy, "raw")
	yum, apt, docker := base(Hosted, "yum"), base(Hosted, "apt"), base(Hosted, "docker")
	tests := []struct {
		name   string
		base   func(*Repository)
		change func(*Repository)
		field  string // "": valid
		shape  bool
	}{
		{"hosted", raw, nil, "", false},
		{"cache", cached, nil, "", false},
		{"group", grouped, nil, "", false},

		{"name empty", raw, func(r *Repository) { r.Name = "" }, "name", false},
		{"name upper", raw, func(r *Repository) { r.Name = "Raw" }, "name", false},
		{"name slash", raw, func(r *Repository) { r.Name = "a/b" }, "name", false},
		{"name newline", raw, func(r *Repository) { r.Name = "a\n" }, "name", false},
		{"name dot first", raw, func(r *Repository) { r.Name = ".a" }, "name", false},
		{"name 63", raw, func(r *Repository) { r.Name = strings.Repeat("a", 63) }, "", false},
		{"name 64", raw, func(r *Repository) { r.Name = strings.Repeat("a", 64) }, "name", false},
		{"name reserved", raw, func(r *Repository) { r.Name = "swagger-ui" }, "name", false},

		{"type missing", raw, func(r *Repository) { r.Type = "" }, "repo_type", true},
		{"type unknown", raw, func(r *Repository) { r.Type = "group" }, "repo_type", true},
		{"format missing", raw, func(r *Repository) { r.Format = "" }, "format", true},
		{"format unknown", raw, func(r *Repository) { r.Format = "floppy" }, "format", true},
		{"format not built in", raw, func(r *Repository) { r.Format = "npm" }, "format", false},
		{"store unknown", raw, func(r *Repository) { r.Store = "x" }, "store", false},
		{"store missing", raw, func(r *Repository) { r.Store = "" }, "store", false},
		{"shards", raw, func(r *Repository) { r.Shards = 0 }, "shards", false},

		{"cache without upstream", cached, func(r *Repository) { r.UpstreamURL = "" }, "upstream_url", false},
		{"upstream of hosted", raw, func(r *Repository) { r.UpstreamURL = "http://a" }, "upstream_url", false},
		{"upstream ftp", cached, func(r *Repository) { r.UpstreamURL = "ftp://a/" }, "upstream_url", false},
		{"upstream relative", cached, func(r *Repository) { r.UpstreamURL = "a/b" }, "upstream_url", false},
		{"upstream without host", cached, func(r *Repository) { r.UpstreamURL = "https:///a" }, "upstream_url", false},
		{"upstream bad host", cached, func(r *Repository) { r.UpstreamURL = "https://a b/" }, "upstream_url", false},
		{"upstream bad port", cached, func(r *Repository) { r.UpstreamURL = "https://a:99999/" }, "upstream_url", false},
		{"upstream no port", cached, func(r *Repository) { r.UpstreamURL = "https://a:/" }, "upstream_url", false},
		{"upstream fragment", cached, func(r *Repository) { r.UpstreamURL = "https://a/#b" }, "upstream_url", false},
		{"upstream control", cached, func(r *Repository) { r.UpstreamURL = "https://a/\x7f" }, "upstream_url", false},
		{"upstream IPv6", cached, func(r *Repository) { r.UpstreamURL = "http://[::1]:8080/x" }, "", false},
		{"upstream with userinfo", cached, func(r *Repository) { r.UpstreamURL = "http://u:p@a/x" }, "", false},
		{"auth of hosted", raw, func(r *Repository) { r.UpstreamAuth = &UpstreamAuth{Username: "u"} }, "upstream_auth", false},
		{"auth colon", cached, func(r *Repository) { r.UpstreamAuth = &UpstreamAuth{Username: "a:b"} }, "upstream_auth.username", false},
		{"auth newline", cached, func(r *Repository) { r.UpstreamAuth = &UpstreamAuth{Username: "a", Password: NewSecret("p\n")} }, "upstream_auth.password", false},
		{"realms", cached, func(r *Repository) { r.UpstreamRealms = []string{"auth.example.com", "[::1]:80", "10.0.0.1"} }, "", false},
		{"realm URL", cached, func(r *Repository) { r.UpstreamRealms = []string{"https://auth.example.com"} }, "upstream_realms", false},
		{"ttl never", cached, func(r *Repository) { r.CacheTTL = ptr(int64(-1)) }, "", false},
		{"ttl", cached, func(r *Repository) { r.CacheTTL = ptr(int64(-2)) }, "cache_ttl_secs", false},
		{"ttl too long for a duration", cached, func(r *Repository) { r.CacheTTL = ptr(int64(1 << 40)) }, "cache_ttl_secs", false},
		{"negative ttl", cached, func(r *Repository) { r.NegativeTTL = ptr(int64(-1)) }, "negative_ttl_secs", false},
		{"patterns", cached, func(r *Repository) { r.MutablePatterns = []string{`^a/.*\.txt$`} }, "", false},
		{"mutable", cached, func(r *Repository) { r.MutablePatterns = []string{"("} }, "mutable_patterns", false},
		{"immutable", cached, func(r *Repository) { r.ImmutablePatterns = []string{"a{2000}"} }, "immutable_patterns", false},
		{"allow", cached, func(r *Repository) { r.AllowPatterns = []string{""} }, "allow_patterns", false},
		{"block", cached, func(r *Repository) { r.BlockPatterns = make([]string, 101) }, "block_patterns", false},

		{"no members", grouped, func(r *Repository) { r.Members = nil }, "members", false},
		{"members of hosted", raw, func(r *Repository) { r.Members = []string{"h1"} }, "members", false},
		{"write member of hosted", raw, func(r *Repository) { r.WriteMember = "h1" }, "write_member", false},
		{"member unknown", grouped, func(r *Repository) { r.Members = []string{"h1", "x"} }, "members", false},
		{"member twice", grouped, func(r *Repository) { r.Members = []string{"h1", "h1"} }, "members", false},
		{"member itself", grouped, func(r *Repository) { r.Members = []string{"r"} }, "members", false},
		{"member of another format", grouped, func(r *Repository) { r.Members = []string{"g1"} }, "members", false},
		{"too many members", grouped, func(r *Repository) { r.Members = make([]string, maxMembers+1) }, "members", false},
		{"nested", grouped, func(r *Repository) { r.Members = []string{"p7", "h1"} }, "", false},
		{"nested too deep", grouped, func(r *Repository) { r.Members = []string{"p8"} }, "members", false},
		{"too deep below", grouped, func(r *Repository) { r.ID, r.Members = "p1", []string{"q1"} }, "members", false},
		{"deep below", grouped, func(r *Repository) { r.ID, r.Members = "p2", []string{"q1"} }, "", false},
		{"cycle", grouped, func(r *Repository) { r.ID, r.Members = "p1", []string{"p8"} }, "members", false},
		{"short cycle", grouped, func(r *Repository) { r.ID, r.Members = "p1", []string{"p2"} }, "members", false},
		{"diamond", grouped, func(r *Repository) { r.Members = []string{"p1", "p2", "p3"} }, "", false},
		{"write member", grouped, func(r *Repository) { r.Members, r.WriteMember = []string{"h1", "h2"}, "h2" }, "", false},
		{"write member no member", grouped, func(r *Repository) { r.WriteMember = "h2" }, "write_member", false},
		{"write member cache", grouped, func(r *Repository) { r.Members, r.WriteMember = []string{"c1"}, "c1" }, "write_member", false},

		{"policy", raw, func(r *Repository) { r.ConflictPolicy = Deny }, "", false},
		{"policy unknown", raw, func(r *Repository) { r.ConflictPolicy = "sometimes" }, "conflict_policy", true},
		{"disposition", raw, func(r *Repository) { r.ContentDisposition = Inline }, "", false},
		{"disposition unknown", raw, func(r *Repository) { r.ContentDisposition = "outline" }, "content_disposition", true},
		{"depth", yum, func(r *Repository) { r.RepodataDepth = ptr(int64(5)) }, "", false},
		{"depth 6", yum, func(r *Repository) { r.RepodataDepth = ptr(int64(6)) }, "repodata_depth", false},
		{"depth negative", yum, func(r *Repository) { r.RepodataDepth = ptr(int64(-1)) }, "repodata_depth", false},
		{"depth of raw", raw, func(r *Repository) { r.RepodataDepth = ptr(int64(1)) }, "repodata_depth", false},
		{"depth of a cache", base(Cache, "yum"), func(r *Repository) { r.RepodataDepth = ptr(int64(1)) }, "repodata_depth", false},
		{"sqlite", yum, func(r *Repository) { r.YumSQLite = true }, "", false},
		{"compression", yum, func(r *Repository) { r.YumCompression = "zst" }, "", false},
		{"compression of raw", raw, func(r *Repository) { r.YumCompression = "gz" }, "yum_compression", false},
		{"compression unknown", yum, func(r *Repository) { r.YumCompression = "xz" }, "yum_compression", true},
		{"sqlite of raw", raw, func(r *Repository) { r.YumSQLite = true }, "yum_sqlite", false},
		{"apt", apt, func(r *Repository) {
			r.Architectures, r.AptComponents, r.ValidUntilDays = []string{"amd64"}, []string{"main", "non-free"}, ptr(int64(7))
		}, "", false},
		{"architectures", apt, func(r *Repository) { r.Architectures = []string{"a b"} }, "architectures", false},
		{"architectures of raw", raw, func(r *Repository) { r.Architectures = []string{"amd64"} }, "architectures", false},
		{"components", apt, func(r *Repository) { r.AptComponents = []string{"../x"} }, "apt_components", false},
		{"components of raw", raw, func(r *Repository) { r.AptComponents = []string{"main"} }, "apt_components", false},
		{"valid until", apt, func(r *Repository) { r.ValidUntilDays = ptr(int64(0)) }, "valid_until_days", false},
		{"valid until of raw", raw, func(r *Repository) { r.ValidUntilDays = ptr(int64(1)) }, "valid_until_days", false},
		{"listen port", docker, func(r *Repository) { r.Listen = "5000" }, "", false},
		{"listen :port", docker, func(r *Repository) { r.Listen = ":5000" }, "", false},
		{"listen host", docker, func(r *Repository) { r.Listen = "docker.example.com" }, "", false},
		{"listen host:port", docker, func(r *Repository) { r.Listen = "127.0.0.1:5000" }, "", false},
		{"listen nonsense", docker, func(r *Repository) { r.Listen = "a/b" }, "listen", false},
		{"listen of raw", raw, func(r *Repository) { r.Listen = ":5000" }, "listen", false},

		{"unaccessed", raw, func(r *Repository) { r.CleanupMaxUnaccessedDays = ptr(int64(0)) }, "cleanup_max_unaccessed_days", false},
		{"age", raw, func(r *Repository) { r.CleanupMaxAgeDays = ptr(int64(0)) }, "cleanup_max_age_days", false},
		{"age 1", raw, func(r *Repository) { r.CleanupMaxAgeDays = ptr(int64(1)) }, "", false},
		{"history", raw, func(r *Repository) { r.HistoryDays = ptr(int64(-1)) }, "history_days", false},
		{"minimum age", raw, func(r *Repository) { r.MinimumAgeDays = ptr(int64(-1)) }, "minimum_age_days", false},
		{"quota", raw, func(r *Repository) { r.QuotaBytes = ptr(int64(-1)) }, "quota_bytes", false},
		{"quota of artifacts", raw, func(r *Repository) { r.QuotaArtifacts = ptr(int64(-1)) }, "quota_artifacts", false},
		{"quota 0", raw, func(r *Repository) { r.QuotaBytes = ptr(int64(0)) }, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &Repository{ID: "r", Name: "mine", Store: "s", Shards: 4}
			tt.base(r)
			if tt.change != nil {
				tt.change(r)
			}
			r.Normalize()
			wantField(t, r.Validate(scene()), tt.field, tt.shape)
		})
	}
}

func wantField(t *testing.T, err error, field string, shape bool) {
	t.Helper()
	if field == "" {
		if err != nil {
			t.Errorf("Validate = %v, want nil", err)
		}
		return
	}
	var f *FieldError
	if !errors.As(err, &f) || !errors.Is(err, ErrInvalid) {
		t.Fatalf("Validate = %v, want a FieldError of %s", err, field)
	}
	if f.Field != field || f.Shape != shape || f.Message == "" {
		t.Errorf("Validate = %+v, want field %s, shape %v", f, field, shape)
	}
}

func TestNormalizeMovesUserinfo(t *testing.T) {
	r := &Repository{Type: Cache, UpstreamURL: " https://user:p%40ss@registry.example.com/a%2Fb/?c=d "}
	r.Normalize()
	if got, want := r.UpstreamURL, "https://registry.example.com/a%2Fb/?c=d"; got != want {
		t.Errorf("UpstreamURL = %q, want %q", got, want)
	}
	password, err := r.UpstreamAuth.Password.Reveal()
	if r.UpstreamAuth.Username != "user" || password != "p@ss" || err != nil {
		t.Errorf("UpstreamAuth = %q, %q, %v", r.UpstreamAuth.Username, password, err)
	}
	r.UpstreamURL = "https://other:x@registry.example.com/"
	r.Normalize()
	if r.UpstreamAuth.Username != "user" || strings.Contains(r.UpstreamURL, "other") {
		t.Errorf("a URL has replaced explicit credentials, or kept its own: %+v", r)
	}
	// A URL that does not parse is refused without being repeated.
	r = &Repository{Type: Cache, UpstreamURL: "https://u:secret@[bad/"}
	r.Normalize()
	if err := r.validateUpstream(); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("validate = %v", err)
	}
}

func TestConflicts(t *testing.T) {
	for _, tt := range []struct {
		repo Repository
		want Policy
	}{
		{Repository{Format: "raw"}, Allow},
		{Repository{Format: "golang"}, AllowIdentical},
		{Repository{Format: "raw", ConflictPolicy: Deny}, Deny},
		{Repository{Format: "golang", ConflictPolicy: Allow}, Allow},
	} {
		if got := tt.repo.Conflicts(); got != tt.want {
			t.Errorf("Conflicts of %s %q = %s, want %s", tt.repo.Format, tt.repo.ConflictPolicy, got, tt.want)
		}
	}
}

func TestValidateStore(t *testing.T) {
	file := func(s *Store) { *s = NewStore(File); s.ID, s.Name, s.Root = "n", "new", "/data/other" }
	s3 := func(s *Store) { *s = NewStore(S3); s.ID, s.Name, s.Bucket = "n", "new", "granary" }
	tests := []struct {
		name   string
		base   func(*Store)
		change func(*Store)
		field  string
		shape  bool
	}{
		{"file", file, nil, "", false},
		{"s3", s3, nil, "", false},
		{"name empty", file, func(s *Store) { s.Name = "" }, "name", false},
		{"name", file, func(s *Store) { s.Name = "a/b" }, "name", false},
		{"name upper", file, func(s *Store) { s.Name = "MinIO_1" }, "", false},
		{"type missing", file, func(s *Store) { s.Type = "" }, "store_type", true},
		{"type unknown", file, func(s *Store) { s.Type = "tape" }, "store_type", true},
		{"root missing", file, func(s *Store) { s.Root = "" }, "root", false},
		{"root NUL", file, func(s *Store) { s.Root = "/a\x00" }, "root", false},
		{"root of another", file, func(s *Store) { s.Root = "/data/../data/blobs/" }, "root", false},
		{"root within another", file, func(s *Store) { s.Root = "/data/blobs/more" }, "root", false},
		{"root around another", file, func(s *Store) { s.Root = "/data" }, "root", false},
		{"root beside another", file, func(s *Store) { s.Root = "/data/blobs2" }, "", false},
		{"same store", file, func(s *Store) { s.ID, s.Root = "s", "/data/blobs" }, "", false},
		{"io_size small", file, func(s *Store) { s.IOSize = 3 }, "io_size", false},
		{"io_size large", file, func(s *Store) { s.IOSize = 65537 }, "io_size", false},
		{"bucket missing", s3, func(s *Store) { s.Bucket = "" }, "bucket", false},
		{"bucket", s3, func(s *Store) { s.Bucket = "a/b" }, "bucket", false},
		{"bucket dots", s3, func(s *Store) { s.Bucket = "a..b" }, "bucket", false},
		{"endpoint", s3, func(s *Store) { s.Endpoint = "http://127.0.0.1:9000" }, "", false},
		{"endpoint scheme", s3, func(s *Store) { s.Endpoint = "127.0.0.1:9000" }, "endpoint", false},
		{"endpoint userinfo", s3, func(s *Store) { s.Endpoint = "http://a:b@c" }, "endpoint", false},
		{"endpoint query", s3, func(s *Store) { s.Endpoint = "http://a?b" }, "endpoint", false},
		{"region", s3, func(s *Store) { s.Region = "" }, "region", false},
		{"prefix", s3, func(s *Store) { s.Prefix = "a/b/" }, "", false},
		{"prefix dots", s3, func(s *Store) { s.Prefix = "a/../b" }, "prefix", false},
		{"prefix slash", s3, func(s *Store) { s.Prefix = "/a" }, "prefix", false},
		{"place of another", s3, func(s *Store) { s.Bucket, s.Endpoint = "taken", "HTTP://S3.example.com/" }, "prefix", false},
		{"place beside another", s3, func(s *Store) { s.Bucket, s.Endpoint, s.Prefix = "taken", "http://s3.example.com", "b" }, "", false},
		{"key without secret", s3, func(s *Store) { s.AccessKey = "a" }, "secret_key", false},
		{"secret without key", s3, func(s *Store) { s.SecretKey = NewSecret("a") }, "secret_key", false},
		{"keys", s3, func(s *Store) { s.AccessKey, s.SecretKey = "a", NewSecret("b") }, "", false},
		{"retries", s3, func(s *Store) { s.MaxRetries = 21 }, "max_retries", false},
		{"retries 0", s3, func(s *Store) { s.MaxRetries = 0 }, "", false},
		{"connect", s3, func(s *Store) { s.ConnectTimeout = 0 }, "connect_timeout_secs", false},
		{"read", s3, func(s *Store) { s.ReadTimeout = 7201 }, "read_timeout_secs", false},
		{"mode", s3, func(s *Store) { s.RetryMode = "never" }, "retry_mode", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := scene()
			k.Stores["o"] = &Store{ID: "o", Name: "other", Type: S3, Bucket: "taken", Endpoint: "http://s3.example.com", Prefix: "a"}
			if tt.name == "place of another" {
				k.Stores["o"].Prefix = ""
			}
			var s Store
			tt.base(&s)
			if tt.change != nil {
				tt.change(&s)
			}
			wantField(t, s.Validate(k), tt.field, tt.shape)
		})
	}
}

func TestValidateSettings(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Settings)
		field  string
	}{
		{"defaults", func(*Settings) {}, ""},
		{"artifact", func(s *Settings) { s.MaxArtifactBytes = 0 }, "max_artifact_bytes"},
		{"cleanup", func(s *Settings) { s.CleanupInterval = ptr(int64(0)) }, "cleanup_interval_secs"},
		{"gc", func(s *Settings) { s.GCInterval = 3599 }, "gc_interval_secs"},
		{"gc continuously", func(s *Settings) { s.GCInterval, s.GCMinInterval = 0, 0 }, ""},
		{"gc min", func(s *Settings) { s.GCMinInterval = -1 }, "gc_min_interval_secs"},
		{"grace", func(s *Settings) { s.GCGrace = -1 }, "gc_grace_secs"},
		{"orphans", func(s *Settings) { s.GCOrphanCandidates = 0 }, "gc_max_orphan_candidates"},
		{"chunks", func(s *Settings) { s.DockerChunks = 0 }, "max_docker_chunk_count"},
		{"expiry", func(s *Settings) { s.JWTExpiry = 59 }, "jwt_expiry_secs"},
		{"rotation", func(s *Settings) { s.JWTRotationInterval, s.JWTExpiry = 3599, 60 }, "jwt_rotation_interval_secs"},
		{"rotation below expiry", func(s *Settings) { s.JWTRotationInterval, s.JWTExpiry = 3600, 3601 }, "jwt_rotation_interval_secs"},
		{"scan", func(s *Settings) { s.StateScanInterval = 0 }, "state_scan_interval_ms"},
		{"retention", func(s *Settings) { s.TaskRetention = -1 }, "task_retention_secs"},
		{"sessions", func(s *Settings) { s.UploadSessionTTL = 0 }, "upload_session_ttl_secs"},
		{"rate", func(s *Settings) { s.RateLimit = &RateLimit{} }, "rate_limit.requests_per_second"},
		{"burst", func(s *Settings) { s.RateLimit = &RateLimit{RequestsPerSecond: 1, BurstSize: ptr(int64(0))} }, "rate_limit.burst_size"},
		{"default rate", func(s *Settings) { s.RateLimit = ptr(DefaultRateLimit()) }, ""},
		{"default cors", func(s *Settings) { s.CORS = ptr(DefaultCORS()) }, ""},
		{"origins", func(s *Settings) {
			s.CORS = &CORS{AllowedOrigins: []string{"*", "https://example.com", "http://[::1]:8080"}}
		}, ""},
		{"origin", func(s *Settings) { s.CORS = &CORS{AllowedOrigins: []string{"https://example.com/"}} }, "cors.allowed_origins"},
		{"method", func(s *Settings) { s.CORS = &CORS{AllowedMethods: []string{"GO AWAY"}} }, "cors.allowed_methods"},
		{"header", func(s *Settings) { s.CORS = &CORS{AllowedHeaders: []string{"a b"}} }, "cors.allowed_headers"},
		{"age", func(s *Settings) { s.CORS = &CORS{MaxAge: -1} }, "cors.max_age_secs"},
		{"logging", func(s *Settings) { s.Logging = &Logging{OTLPEndpoint: "x"} }, "logging.otlp_endpoint"},
		{"tracing", func(s *Settings) { s.TracingEndpoint = "x" }, "tracing_endpoint"},
		{"tracing set", func(s *Settings) { s.TracingEndpoint = "http://127.0.0.1:4317" }, ""},
		{"docker", func(s *Settings) { s.DefaultDockerRepo = "d1" }, ""},
		{"docker unknown", func(s *Settings) { s.DefaultDockerRepo = "x" }, "default_docker_repo"},
		{"docker of raw", func(s *Settings) { s.DefaultDockerRepo = "h1" }, "default_docker_repo"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := DefaultSettings()
			tt.change(&s)
			wantField(t, s.Validate(scene()), tt.field, false)
		})
	}
}

// Whatever a client sends is judged without a panic, and what is found valid
// can be stored and read back as it was.
func TestValidateProperty(t *testing.T) {
	reg := Open(Options{KV: newStore(t)})
	bytesOf := rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 20), func(b []byte) string { return string(b) })
	text := rapid.OneOf(rapid.String(), bytesOf, rapid.SampledFrom([]string{
		"", "a", "raw", "apt", "yum", "docker", "h1", "h2", "c1", "p1", "p8", "r", "s", "(", ".*", "*",
		"http://a", "https://u:p@h:1/x", "http://[::1%25x]:80", "http://%zz", "http://a:b", "[", ":5000", "amd64", "GET",
	}))
	list := rapid.SliceOfN(text, 0, 4)
	number := rapid.Ptr(rapid.OneOf(rapid.Int64(), rapid.Int64Range(-2, 8)), true)
	rapid.Check(t, func(t *rapid.T) {
		r := &Repository{
			ID: "r", Name: text.Draw(t, "name"), Type: rapid.SampledFrom([]Type{"", "x", Hosted, Cache, Proxy}).Draw(t, "type"),
			Format: text.Draw(t, "format"), Store: "s", Shards: 4, Created: time.Unix(1, 0).UTC(),
			UpstreamURL: text.Draw(t, "url"), UpstreamRealms: list.Draw(t, "realms"),
			CacheTTL: number.Draw(t, "ttl"), NegativeTTL: number.Draw(t, "negative"),
			MutablePatterns: list.Draw(t, "mutable"), BlockPatterns: list.Draw(t, "block"),
			Members: list.Draw(t, "members"), WriteMember: text.Draw(t, "write"),
			ConflictPolicy: Policy(text.Draw(t, "policy")), Listen: text.Draw(t, "listen"),
			RepodataDepth: number.Draw(t, "depth"), Architectures: list.Draw(t, "architectures"),
			QuotaBytes: number.Draw(t, "quota"),
		}
		if rapid.Bool().Draw(t, "auth") {
			r.UpstreamAuth = &UpstreamAuth{Username: text.Draw(t, "user"), Password: NewSecret(text.Draw(t, "password"))}
		}
		r.Normalize()
		if err := r.Validate(scene()); err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("Validate = %v", err)
			}
			return
		}
		item, err := encode(reg, kv.Config(kindRepository, r.ID), r)
		if err != nil {
			t.Fatalf("a valid repository can't be stored: %v", err)
		}
		if err := kv.CheckKey(item.Key); err != nil || len(item.Value) > kv.MaxValue {
			t.Fatalf("a valid repository can't be stored: %v, %d bytes", err, len(item.Value))
		}
		back, err := decode[Repository](reg, item, Repository{})
		if err != nil {
			t.Fatalf("a stored repository can't be read: %v", err)
		}
		again, err := encode(reg, item.Key, back)
		if err != nil || string(again.Value) != string(item.Value) {
			t.Fatalf("read back differently: %v", err)
		}
		s := Store{
			ID: "n", Name: text.Draw(t, "store"), Type: rapid.SampledFrom([]StoreType{File, S3}).Draw(t, "kind"),
			Root: text.Draw(t, "root"), Endpoint: text.Draw(t, "endpoint"), Bucket: text.Draw(t, "bucket"), Prefix: text.Draw(t, "prefix"),
		}
		if err := s.Validate(scene()); err != nil && !errors.Is(err, ErrInvalid) {
			t.Fatalf("Validate = %v", err)
		}
		c := CORS{AllowedOrigins: list.Draw(t, "origins"), AllowedMethods: list.Draw(t, "methods"), AllowedHeaders: list.Draw(t, "headers")}
		if err := c.validate(); err != nil && !errors.Is(err, ErrInvalid) {
			t.Fatalf("validate = %v", err)
		}
	})
}

func TestLargestDocumentFits(t *testing.T) {
	r := &Repository{ID: "r", Name: "mine", Type: Cache, Format: "raw", Store: "s", Shards: 4}
	r.UpstreamURL = "https://a/" + strings.Repeat("a", maxText-10)
	r.UpstreamAuth = &UpstreamAuth{Username: strings.Repeat("u", maxText), Password: NewSecret(strings.Repeat("p", maxPassword))}
	for range maxList {
		p := strings.Repeat("p", maxPattern)
		r.MutablePatterns, r.ImmutablePatterns = append(r.MutablePatterns, p), append(r.ImmutablePatterns, p)
		r.AllowPatterns, r.BlockPatterns = append(r.AllowPatterns, p), append(r.BlockPatterns, p)
		r.UpstreamRealms = append(r.UpstreamRealms, strings.Repeat("a.", 126)+"a:65535")
	}
	for i := range maxQuarantineBytes / (maxQuarantineItem + maxQuarantineText) {
		r.Quarantine = append(r.Quarantine, Quarantined{Item: strconv.Itoa(100+i) + strings.Repeat("i", maxQuarantineItem-3), Reason: strings.Repeat("r", maxQuarantineText)})
	}
	if err := r.Validate(scene()); err != nil {
		t.Fatal(err)
	}
	item, err := encode(Open(Options{KV: newStore(t)}), kv.Config(kindRepository, r.ID), r)
	if err != nil || len(item.Value) > kv.MaxValue {
		t.Errorf("%d bytes, %v", len(item.Value), err)
	}
}

func TestReadPublicKeys(t *testing.T) {
	for _, text := range []string{"x", publicBlockForTest + "\n\nnot base64\n-----END PGP PUBLIC KEY BLOCK-----\n", "before\n" + publicBlockForTest} {
		if _, err := ReadPublicKeys(text); err == nil {
			t.Errorf("%.40q is taken for keys", text)
		}
	}
}

const publicBlockForTest = "-----BEGIN PGP PUBLIC KEY BLOCK-----"

func FuzzReadPublicKeys(f *testing.F) {
	f.Add("")
	f.Add(publicBlockForTest + "\n\nxjMEAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n")
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := ReadPublicKeys(text)
		if err == nil && len(keys) == 0 {
			t.Error("no keys and no error")
		}
	})
}
