package config

import (
	"context"

	"granary/kv"
)

// Settings are the server's settings. Begin with [DefaultSettings]. What a
// [Registry] returns is shared: it must not be changed.
//
// No field is left out of the stored form, so that a value which happens to be
// zero is not taken for one that was never set.
type Settings struct {
	kv.Extra `cbor:"-"`

	AccessLog           bool       `cbor:"1,keyasint"`
	MaxArtifactBytes    int64      `cbor:"2,keyasint"`
	CleanupInterval     *int64     `cbor:"3,keyasint"` // seconds
	DefaultDockerRepo   string     `cbor:"4,keyasint"` // repository id
	CORS                *CORS      `cbor:"5,keyasint"`
	RateLimit           *RateLimit `cbor:"6,keyasint"`
	GCInterval          int64      `cbor:"7,keyasint"`  // seconds from start to start, 0: continuously
	GCMinInterval       int64      `cbor:"8,keyasint"`  // seconds
	GCOrphanCandidates  int64      `cbor:"9,keyasint"`  // gc_max_orphan_candidates
	DockerChunks        int64      `cbor:"10,keyasint"` // max_docker_chunk_count
	JWTExpiry           int64      `cbor:"11,keyasint"` // seconds
	JWTRotationInterval int64      `cbor:"12,keyasint"` // seconds
	StateScanInterval   int64      `cbor:"13,keyasint"` // milliseconds
	TaskRetention       int64      `cbor:"14,keyasint"` // seconds
	Logging             *Logging   `cbor:"15,keyasint"`
	TracingEndpoint     string     `cbor:"16,keyasint"`
	GCGrace             int64      `cbor:"17,keyasint"` // seconds
	UploadSessionTTL    int64      `cbor:"18,keyasint"` // seconds since the last chunk
	AuditReads          bool       `cbor:"19,keyasint"`
	AuditRetention      int64      `cbor:"20,keyasint"` // days, 0: the default
}

// CORS says which pages of other origins may call the server.
type CORS struct {
	kv.Extra `cbor:"-"`

	AllowedOrigins []string `cbor:"1,keyasint"`
	AllowedMethods []string `cbor:"2,keyasint"`
	AllowedHeaders []string `cbor:"3,keyasint"`
	MaxAge         int64    `cbor:"4,keyasint"` // seconds
}

// RateLimit bounds the requests of one client.
type RateLimit struct {
	kv.Extra `cbor:"-"`

	RequestsPerSecond int64  `cbor:"1,keyasint"`
	BurstSize         *int64 `cbor:"2,keyasint"` // nil: RequestsPerSecond
}

// Logging says where logs are sent besides standard error.
type Logging struct {
	kv.Extra `cbor:"-"`

	OTLPEndpoint string `cbor:"1,keyasint"`
}

// DefaultAuditRetention is how many days the audit log is kept.
const DefaultAuditRetention = 90

// DefaultSettings returns what holds until an administrator says otherwise.
func DefaultSettings() Settings {
	return Settings{
		AccessLog:           true,
		MaxArtifactBytes:    32 << 30,
		GCInterval:          86400,
		GCMinInterval:       3600,
		GCOrphanCandidates:  1_000_000,
		DockerChunks:        10_000,
		JWTExpiry:           86400,
		JWTRotationInterval: 7 * 86400,
		StateScanInterval:   1000,
		TaskRetention:       86400,
		GCGrace:             3600,
		UploadSessionTTL:    86400,
		AuditRetention:      DefaultAuditRetention,
	}
}

// DefaultCORS returns the defaults of the fields of [CORS].
func DefaultCORS() CORS {
	return CORS{
		AllowedMethods: []string{"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"},
		AllowedHeaders: []string{"Authorization", "Content-Type", "Accept"},
		MaxAge:         3600,
	}
}

// DefaultRateLimit returns the defaults of the fields of [RateLimit].
func DefaultRateLimit() RateLimit { return RateLimit{RequestsPerSecond: 100} }

// AuditDays is how many days the audit log is kept.
func (s *Settings) AuditDays() int64 {
	if s.AuditRetention == 0 { // stored before there was one
		return DefaultAuditRetention
	}
	return s.AuditRetention
}

// LogEndpoint is where logs are sent besides standard error, "" if the settings
// don't say.
func (s *Settings) LogEndpoint() string {
	if s.Logging == nil {
		return ""
	}
	return s.Logging.OTLPEndpoint
}

func (s *Settings) secrets() []*Secret { return nil }

// UpdateSettings changes the settings. change gets a copy of its own, and may
// put whole new ones in its place; it may be called again when another writer
// was faster.
func (r *Registry) UpdateSettings(ctx context.Context, change func(*Settings) error) (*Settings, error) {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	key := kv.Config(kindSetting, settingsID)
	var s *Settings
	err := again(ctx, func() error {
		var item kv.Item
		var err error
		if s, item, err = get(ctx, r, key, DefaultSettings()); err != nil {
			return err
		}
		if s == nil {
			defaults := DefaultSettings()
			s = &defaults
		}
		extra := s.Extra
		if err := change(s); err != nil {
			return err
		}
		s.Extra = extra
		if err := r.judgeSettings(ctx, s); err != nil {
			return err
		}
		next, err := encode(r, key, s)
		if err != nil {
			return err
		}
		return r.put(ctx, next, item.Version)
	})
	if err != nil {
		return nil, err
	}
	return s, r.changed(ctx)
}

func (r *Registry) judgeSettings(ctx context.Context, s *Settings) error {
	if s.DefaultDockerRepo != "" {
		if err := r.Load(ctx); err != nil {
			return err
		}
	}
	return s.Validate(r.Known())
}
