package config

import (
	"net/url"
	"slices"
	"strings"
)

// Validate returns a [FieldError] for the first rule that s breaks.
func (s *Settings) Validate(k Known) error {
	const most = 1 << 50
	err := first(
		between("max_artifact_bytes", s.MaxArtifactBytes, 1, most),
		optional("cleanup_interval_secs", s.CleanupInterval, 1, maxSeconds),
		between("gc_interval_secs", s.GCInterval, 0, maxSeconds),
		between("gc_min_interval_secs", s.GCMinInterval, 0, maxSeconds),
		between("gc_grace_secs", s.GCGrace, 0, maxSeconds),
		between("gc_max_orphan_candidates", s.GCOrphanCandidates, 1, most),
		between("max_docker_chunk_count", s.DockerChunks, 1, most),
		between("jwt_expiry_secs", s.JWTExpiry, 60, maxSeconds),
		between("jwt_rotation_interval_secs", s.JWTRotationInterval, 3600, maxSeconds),
		between("state_scan_interval_ms", s.StateScanInterval, 1, maxSeconds),
		between("task_retention_secs", s.TaskRetention, 0, maxSeconds),
		between("upload_session_ttl_secs", s.UploadSessionTTL, 1, maxSeconds),
		between("audit_retention_days", s.AuditDays(), 1, 3650),
		s.CORS.validate(),
		s.RateLimit.validate(),
	)
	switch {
	case err != nil:
		return err
	case s.GCInterval < s.GCMinInterval:
		return invalid("gc_interval_secs", "must not be less than gc_min_interval_secs")
	case s.JWTRotationInterval < s.JWTExpiry:
		return invalid("jwt_rotation_interval_secs", "must not be less than jwt_expiry_secs")
	}
	if s.Logging != nil {
		if err := httpURL("logging.otlp_endpoint", s.Logging.OTLPEndpoint); err != nil {
			return err
		}
	}
	if s.TracingEndpoint != "" {
		if err := httpURL("tracing_endpoint", s.TracingEndpoint); err != nil {
			return err
		}
	}
	return s.validateDocker(k)
}

func (s *Settings) validateDocker(k Known) error {
	if s.DefaultDockerRepo == "" {
		return nil
	}
	switch r := k.Repositories[s.DefaultDockerRepo]; {
	case r == nil:
		return invalid("default_docker_repo", "there is no such repository")
	case r.Format != "docker":
		return invalid("default_docker_repo", "%s is not a docker repository", r.Name)
	}
	return nil
}

func (c *CORS) validate() error {
	if c == nil {
		return nil
	}
	return first(
		list("cors.allowed_origins", c.AllowedOrigins, allowedOrigin),
		list("cors.allowed_methods", c.AllowedMethods, func(m string) error {
			if !slices.Contains(corsMethods, m) {
				return invalid("cors.allowed_methods", "%.64q is no HTTP method", m)
			}
			return nil
		}),
		list("cors.allowed_headers", c.AllowedHeaders, func(h string) error {
			if !headerToken.MatchString(h) {
				return invalid("cors.allowed_headers", "%.64q is no header's name", h)
			}
			return nil
		}),
		between("cors.max_age_secs", c.MaxAge, 0, maxSeconds),
	)
}

// allowedOrigin takes "*", "null" and scheme://host[:port].
func allowedOrigin(o string) error {
	const field = "cors.allowed_origins"
	if o == "*" || o == "null" {
		return nil
	}
	if err := text(field, o, maxText); err != nil {
		return err
	}
	u, err := url.Parse(o)
	if err != nil || u.Scheme == "" || u.Host == "" || !strings.EqualFold(o, u.Scheme+"://"+u.Host) {
		return invalid(field, "%.64q is no origin, such as https://example.com", o)
	}
	return nil
}

func (l *RateLimit) validate() error {
	if l == nil {
		return nil
	}
	const most = 1 << 30
	return first(
		between("rate_limit.requests_per_second", l.RequestsPerSecond, 1, most),
		optional("rate_limit.burst_size", l.BurstSize, 1, most),
	)
}
