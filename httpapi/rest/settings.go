package rest

import (
	"context"
	"errors"
	"net/http"
	"reflect"

	"granary/httpapi/exchange"
	"granary/httpapi/fault"
	"granary/repo/config"
)

// Settings are the server's settings as clients see them.
type Settings struct {
	AccessLog               bool       `json:"access_log"`
	MaxArtifactBytes        int64      `json:"max_artifact_bytes"`
	CleanupIntervalSecs     *int64     `json:"cleanup_interval_secs"`
	DefaultDockerRepo       *string    `json:"default_docker_repo"`
	CORS                    *CORS      `json:"cors"`
	RateLimit               *RateLimit `json:"rate_limit"`
	GCIntervalSecs          int64      `json:"gc_interval_secs"`
	GCMinIntervalSecs       int64      `json:"gc_min_interval_secs"`
	GCMaxOrphanCandidates   int64      `json:"gc_max_orphan_candidates"`
	GCGraceSecs             int64      `json:"gc_grace_secs"`
	MaxDockerChunkCount     int64      `json:"max_docker_chunk_count"`
	JWTExpirySecs           int64      `json:"jwt_expiry_secs"`
	JWTRotationIntervalSecs int64      `json:"jwt_rotation_interval_secs"`
	StateScanIntervalMS     int64      `json:"state_scan_interval_ms"`
	TaskRetentionSecs       int64      `json:"task_retention_secs"`
	UploadSessionTTLSecs    int64      `json:"upload_session_ttl_secs"`
	AuditReads              bool       `json:"audit_reads" doc:"The audit log has reads too."`
	AuditRetentionDays      int64      `json:"audit_retention_days"`
	Logging                 *Logging   `json:"logging"`
	TracingEndpoint         *string    `json:"tracing_endpoint"`
}

// CORS says which pages of other origins may call the server.
type CORS struct {
	AllowedOrigins []string `json:"allowed_origins" nullable:"false"`
	AllowedMethods []string `json:"allowed_methods" nullable:"false"`
	AllowedHeaders []string `json:"allowed_headers" nullable:"false"`
	MaxAgeSecs     int64    `json:"max_age_secs"`
}

// RateLimit bounds the requests of one client.
type RateLimit struct {
	RequestsPerSecond int64  `json:"requests_per_second"`
	BurstSize         *int64 `json:"burst_size"`
}

// Logging says where logs are sent besides standard error.
type Logging struct {
	OTLPEndpoint string `json:"otlp_endpoint"`
}

// SettingsRequest replaces the settings; what is absent gets its default.
type SettingsRequest struct {
	AccessLog               optional[bool]             `json:"access_log,omitempty"`
	MaxArtifactBytes        optional[int64]            `json:"max_artifact_bytes,omitempty"`
	CleanupIntervalSecs     optional[int64]            `json:"cleanup_interval_secs,omitempty"`
	DefaultDockerRepo       optional[string]           `json:"default_docker_repo,omitempty"`
	CORS                    optional[CORSRequest]      `json:"cors,omitempty"`
	RateLimit               optional[RateLimitRequest] `json:"rate_limit,omitempty"`
	GCIntervalSecs          optional[int64]            `json:"gc_interval_secs,omitempty"`
	GCMinIntervalSecs       optional[int64]            `json:"gc_min_interval_secs,omitempty"`
	GCMaxOrphanCandidates   optional[int64]            `json:"gc_max_orphan_candidates,omitempty"`
	GCGraceSecs             optional[int64]            `json:"gc_grace_secs,omitempty"`
	MaxDockerChunkCount     optional[int64]            `json:"max_docker_chunk_count,omitempty"`
	JWTExpirySecs           optional[int64]            `json:"jwt_expiry_secs,omitempty"`
	JWTRotationIntervalSecs optional[int64]            `json:"jwt_rotation_interval_secs,omitempty"`
	StateScanIntervalMS     optional[int64]            `json:"state_scan_interval_ms,omitempty"`
	TaskRetentionSecs       optional[int64]            `json:"task_retention_secs,omitempty"`
	UploadSessionTTLSecs    optional[int64]            `json:"upload_session_ttl_secs,omitempty"`
	AuditReads              optional[bool]             `json:"audit_reads,omitempty"`
	AuditRetentionDays      optional[int64]            `json:"audit_retention_days,omitempty"`
	Logging                 optional[Logging]          `json:"logging,omitempty"`
	TracingEndpoint         optional[string]           `json:"tracing_endpoint,omitempty"`
}

// CORSRequest sets CORS.
type CORSRequest struct {
	AllowedOrigins []string           `json:"allowed_origins" nullable:"false"`
	AllowedMethods optional[[]string] `json:"allowed_methods,omitempty"`
	AllowedHeaders optional[[]string] `json:"allowed_headers,omitempty"`
	MaxAgeSecs     optional[int64]    `json:"max_age_secs,omitempty"`
}

// RateLimitRequest sets the rate limit.
type RateLimitRequest struct {
	RequestsPerSecond optional[int64] `json:"requests_per_second,omitempty"`
	BurstSize         optional[int64] `json:"burst_size,omitempty"`
}

func (a *api) settings() {
	const tag = "settings"
	register(a, operation{id: "get-settings", method: http.MethodGet, path: "/settings", summary: "Get the settings", tag: tag}, a.getSettings)
	register(a, operation{
		id: "replace-settings", method: http.MethodPut, path: "/settings", summary: "Replace the settings: what is absent gets its default", tag: tag,
		reads: reflect.TypeFor[SettingsRequest](),
	}, a.replaceSettings)
}

func (a *api) getSettings(_ context.Context, x *exchange.Exchange, _ *none) (*answer[Settings], error) {
	if err := x.Administer(); err != nil {
		return nil, err
	}
	s := a.showSettings(a.Registry.Settings())
	return &answer[Settings]{s}, tagged(x, s)
}

func (a *api) replaceSettings(ctx context.Context, x *exchange.Exchange, _ *none) (*answer[Settings], error) {
	if err := x.Administer(); err != nil {
		return nil, err
	}
	p, err := a.read(x, maxBody)
	if err != nil {
		return nil, err
	}
	var in SettingsRequest
	if err := p.decode(&in); err != nil {
		return nil, err
	}
	s, err := a.Registry.UpdateSettings(ctx, func(s *config.Settings) error {
		if err := unchanged(x, a.showSettings(s)); err != nil {
			return err
		}
		next, err := a.newSettings(ctx, &in)
		*s = next
		return err
	})
	if err != nil {
		return nil, invalidSettings(err)
	}
	out := a.showSettings(s)
	return &answer[Settings]{out}, tagged(x, out)
}

// invalidSettings says it as clients know it.
func invalidSettings(err error) error {
	var field *config.FieldError
	if errors.As(err, &field) {
		return &fault.Fault{Status: http.StatusBadRequest, Code: fault.BadRequest, Message: "invalid settings: " + field.Error()}
	}
	return err
}

// newSettings are the defaults with what the body says.
func (a *api) newSettings(ctx context.Context, in *SettingsRequest) (config.Settings, error) {
	s := config.DefaultSettings()
	def := s
	plain(in.AccessLog, &s.AccessLog, def.AccessLog)
	plain(in.MaxArtifactBytes, &s.MaxArtifactBytes, def.MaxArtifactBytes)
	in.CleanupIntervalSecs.pointer(&s.CleanupInterval)
	plain(in.GCIntervalSecs, &s.GCInterval, def.GCInterval)
	plain(in.GCMinIntervalSecs, &s.GCMinInterval, def.GCMinInterval)
	plain(in.GCMaxOrphanCandidates, &s.GCOrphanCandidates, def.GCOrphanCandidates)
	plain(in.GCGraceSecs, &s.GCGrace, def.GCGrace)
	plain(in.MaxDockerChunkCount, &s.DockerChunks, def.DockerChunks)
	plain(in.JWTExpirySecs, &s.JWTExpiry, def.JWTExpiry)
	plain(in.JWTRotationIntervalSecs, &s.JWTRotationInterval, def.JWTRotationInterval)
	plain(in.StateScanIntervalMS, &s.StateScanInterval, def.StateScanInterval)
	plain(in.TaskRetentionSecs, &s.TaskRetention, def.TaskRetention)
	plain(in.UploadSessionTTLSecs, &s.UploadSessionTTL, def.UploadSessionTTL)
	plain(in.AuditReads, &s.AuditReads, def.AuditReads)
	plain(in.AuditRetentionDays, &s.AuditRetention, def.AuditRetention)
	plain(in.TracingEndpoint, &s.TracingEndpoint, "")
	if in.Logging.some() {
		s.Logging = &config.Logging{OTLPEndpoint: in.Logging.value.OTLPEndpoint}
	}
	if in.CORS.some() {
		c, d := in.CORS.value, config.DefaultCORS()
		d.AllowedOrigins = c.AllowedOrigins
		plain(c.AllowedMethods, &d.AllowedMethods, d.AllowedMethods)
		plain(c.AllowedHeaders, &d.AllowedHeaders, d.AllowedHeaders)
		plain(c.MaxAgeSecs, &d.MaxAge, d.MaxAge)
		s.CORS = &d
	}
	if in.RateLimit.some() {
		l, d := in.RateLimit.value, config.DefaultRateLimit()
		plain(l.RequestsPerSecond, &d.RequestsPerSecond, d.RequestsPerSecond)
		l.BurstSize.pointer(&d.BurstSize)
		s.RateLimit = &d
	}
	if name := in.DefaultDockerRepo.value; name != "" {
		ids, err := a.Registry.MemberIDs(ctx, "default_docker_repo", []string{name})
		if err != nil {
			return s, err
		}
		s.DefaultDockerRepo = ids[0]
	}
	return s, nil
}

func (a *api) showSettings(s *config.Settings) Settings {
	out := Settings{
		AccessLog: s.AccessLog, MaxArtifactBytes: s.MaxArtifactBytes, CleanupIntervalSecs: s.CleanupInterval,
		GCIntervalSecs: s.GCInterval, GCMinIntervalSecs: s.GCMinInterval, GCMaxOrphanCandidates: s.GCOrphanCandidates,
		GCGraceSecs: s.GCGrace, MaxDockerChunkCount: s.DockerChunks, JWTExpirySecs: s.JWTExpiry,
		JWTRotationIntervalSecs: s.JWTRotationInterval, StateScanIntervalMS: s.StateScanInterval, TaskRetentionSecs: s.TaskRetention,
		UploadSessionTTLSecs: s.UploadSessionTTL, AuditReads: s.AuditReads, AuditRetentionDays: s.AuditDays(), TracingEndpoint: filled(s.TracingEndpoint),
	}
	if names := a.Registry.MemberNames([]string{s.DefaultDockerRepo}); len(names) == 1 {
		out.DefaultDockerRepo = &names[0]
	}
	if c := s.CORS; c != nil {
		out.CORS = &CORS{orEmpty(c.AllowedOrigins), orEmpty(c.AllowedMethods), orEmpty(c.AllowedHeaders), c.MaxAge}
	}
	if l := s.RateLimit; l != nil {
		out.RateLimit = &RateLimit{l.RequestsPerSecond, l.BurstSize}
	}
	if s.Logging != nil {
		out.Logging = &Logging{s.Logging.OTLPEndpoint}
	}
	return out
}

// orEmpty keeps null out of lists.
func orEmpty(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
