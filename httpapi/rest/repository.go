package rest

import (
	"context"

	"granary/repo/config"
)

// Repository is a repository as clients see it: every key is always there,
// null where there is no value.
type Repository struct {
	Name                     string        `json:"name"`
	RepoType                 string        `json:"repo_type" enum:"hosted,cache,proxy"`
	Format                   string        `json:"format"`
	Store                    *string       `json:"store"`
	UpstreamURL              *string       `json:"upstream_url"`
	CacheTTLSecs             *int64        `json:"cache_ttl_secs"`
	Members                  []string      `json:"members"`
	WriteMember              *string       `json:"write_member"`
	Listen                   *string       `json:"listen"`
	CleanupMaxUnaccessedDays *int64        `json:"cleanup_max_unaccessed_days"`
	CleanupMaxAgeDays        *int64        `json:"cleanup_max_age_days"`
	CleanupUntaggedManifests *bool         `json:"cleanup_untagged_manifests"`
	UpstreamAuth             *UpstreamAuth `json:"upstream_auth"`
	ContentDisposition       *string       `json:"content_disposition"`
	RepodataDepth            *int64        `json:"repodata_depth"`
	CreatedAt                Timestamp     `json:"created_at"`
	ArtifactCount            int64         `json:"artifact_count"`
	TotalBytes               int64         `json:"total_bytes"`

	ConflictPolicy     string   `json:"conflict_policy" enum:"allow,deny,allow-identical"`
	HistoryDays        *int64   `json:"history_days"`
	PresignedRedirects bool     `json:"presigned_redirects"`
	UpstreamRealms     []string `json:"upstream_realms"`
	MutablePatterns    []string `json:"mutable_patterns"`
	ImmutablePatterns  []string `json:"immutable_patterns"`
	AllowPatterns      []string `json:"allow_patterns"`
	BlockPatterns      []string `json:"block_patterns"`
	NegativeTTLSecs    *int64   `json:"negative_ttl_secs"`
	Architectures      []string `json:"architectures"`
	AptComponents      []string `json:"apt_components"`
	ValidUntilDays     *int64   `json:"valid_until_days"`
	UpstreamKeys       *string  `json:"upstream_keys"`
	UpstreamUnsigned   bool     `json:"upstream_unsigned"`
	YumSQLite          bool     `json:"yum_sqlite"`
	YumCompression     *string  `json:"yum_compression" doc:"gz or zst; null is gz."`
	MinimumAgeDays     *int64   `json:"minimum_age_days"`
	QuotaBytes         *int64   `json:"quota_bytes"`
	QuotaArtifacts     *int64   `json:"quota_artifacts"`

	CleanupKeepLast       *int64  `json:"cleanup_keep_last" doc:"The newest versions of each package, which stay."`
	CleanupKeepLatest     bool    `json:"cleanup_keep_latest" doc:"The greatest version of each package stays."`
	CleanupNamePattern    *string `json:"cleanup_name_pattern" doc:"Only packages that match it are cleaned."`
	CleanupVersionPattern *string `json:"cleanup_version_pattern" doc:"Only versions that match it are cleaned."`
	ClaimNames            *bool   `json:"claim_names" doc:"Of a group: upstreams are not asked for packages that a hosted member has. Null is true."`
}

// UpstreamAuth is what a cache tells its upstream. The password is masked in
// answers.
type UpstreamAuth struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// UpstreamAuthRequest changes it; the mask stands for the stored password.
type UpstreamAuthRequest struct {
	Username optional[string] `json:"username,omitempty"`
	Password optional[string] `json:"password,omitempty"`
}

// RepositoryFields are the fields that can be set and changed.
type RepositoryFields struct {
	UpstreamURL              optional[string]              `json:"upstream_url,omitempty"`
	CacheTTLSecs             optional[int64]               `json:"cache_ttl_secs,omitempty"`
	Members                  optional[[]string]            `json:"members,omitempty"`
	WriteMember              optional[string]              `json:"write_member,omitempty"`
	Listen                   optional[string]              `json:"listen,omitempty"`
	CleanupMaxUnaccessedDays optional[int64]               `json:"cleanup_max_unaccessed_days,omitempty"`
	CleanupMaxAgeDays        optional[int64]               `json:"cleanup_max_age_days,omitempty"`
	CleanupUntaggedManifests optional[bool]                `json:"cleanup_untagged_manifests,omitempty"`
	UpstreamAuth             optional[UpstreamAuthRequest] `json:"upstream_auth,omitempty"`
	ContentDisposition       optional[string]              `json:"content_disposition,omitempty"`
	RepodataDepth            optional[int64]               `json:"repodata_depth,omitempty"`
	ConflictPolicy           optional[string]              `json:"conflict_policy,omitempty"`
	HistoryDays              optional[int64]               `json:"history_days,omitempty"`
	PresignedRedirects       optional[bool]                `json:"presigned_redirects,omitempty"`
	UpstreamRealms           optional[[]string]            `json:"upstream_realms,omitempty"`
	MutablePatterns          optional[[]string]            `json:"mutable_patterns,omitempty"`
	ImmutablePatterns        optional[[]string]            `json:"immutable_patterns,omitempty"`
	AllowPatterns            optional[[]string]            `json:"allow_patterns,omitempty"`
	BlockPatterns            optional[[]string]            `json:"block_patterns,omitempty"`
	NegativeTTLSecs          optional[int64]               `json:"negative_ttl_secs,omitempty"`
	Architectures            optional[[]string]            `json:"architectures,omitempty"`
	AptComponents            optional[[]string]            `json:"apt_components,omitempty"`
	ValidUntilDays           optional[int64]               `json:"valid_until_days,omitempty"`
	UpstreamKeys             optional[string]              `json:"upstream_keys,omitempty" doc:"armored OpenPGP public keys, with which the upstream's signatures are verified; caches of apt and yum"`
	UpstreamUnsigned         optional[bool]                `json:"upstream_unsigned,omitempty" doc:"documents that no key has signed, or that have expired, are passed on all the same"`
	YumSQLite                optional[bool]                `json:"yum_sqlite,omitempty"`
	YumCompression           optional[string]              `json:"yum_compression,omitempty"`
	MinimumAgeDays           optional[int64]               `json:"minimum_age_days,omitempty"`
	QuotaBytes               optional[int64]               `json:"quota_bytes,omitempty"`
	QuotaArtifacts           optional[int64]               `json:"quota_artifacts,omitempty"`
	CleanupKeepLast          optional[int64]               `json:"cleanup_keep_last,omitempty"`
	CleanupKeepLatest        optional[bool]                `json:"cleanup_keep_latest,omitempty"`
	CleanupNamePattern       optional[string]              `json:"cleanup_name_pattern,omitempty"`
	CleanupVersionPattern    optional[string]              `json:"cleanup_version_pattern,omitempty"`
	ClaimNames               optional[bool]                `json:"claim_names,omitempty"`
}

// CreateRepositoryRequest is the body that makes a repository.
type CreateRepositoryRequest struct {
	Name     string           `json:"name"`
	RepoType string           `json:"repo_type" enum:"hosted,cache,proxy"`
	Format   string           `json:"format"`
	Store    optional[string] `json:"store,omitempty"`
	RepositoryFields
}

// UpdateRepositoryRequest is the body that changes a repository. What can't be
// changed may be sent as it is.
type UpdateRepositoryRequest struct {
	Name     optional[string] `json:"name,omitempty"`
	RepoType optional[string] `json:"repo_type,omitempty"`
	Format   optional[string] `json:"format,omitempty"`
	Store    optional[string] `json:"store,omitempty"`
	RepositoryFields
}

// apply puts the fields of a body into the document. Rules on their values are
// the document's own.
func (a *api) apply(ctx context.Context, in *RepositoryFields, r *config.Repository) error {
	if err := a.applyFields(in, r); err != nil {
		return err
	}
	return a.applyMembers(ctx, in, r)
}

// applyFields is apply without what names other repositories.
func (a *api) applyFields(in *RepositoryFields, r *config.Repository) error {
	plain(in.UpstreamURL, &r.UpstreamURL, "")
	in.CacheTTLSecs.pointer(&r.CacheTTL)
	in.NegativeTTLSecs.pointer(&r.NegativeTTL)
	plain(in.UpstreamRealms, &r.UpstreamRealms, nil)
	plain(in.MutablePatterns, &r.MutablePatterns, nil)
	plain(in.ImmutablePatterns, &r.ImmutablePatterns, nil)
	plain(in.AllowPatterns, &r.AllowPatterns, nil)
	plain(in.BlockPatterns, &r.BlockPatterns, nil)
	plain(in.Listen, &r.Listen, "")
	in.CleanupMaxUnaccessedDays.pointer(&r.CleanupMaxUnaccessedDays)
	in.CleanupMaxAgeDays.pointer(&r.CleanupMaxAgeDays)
	in.CleanupUntaggedManifests.pointer(&r.CleanupUntaggedManifests)
	in.RepodataDepth.pointer(&r.RepodataDepth)
	in.HistoryDays.pointer(&r.HistoryDays)
	plain(in.PresignedRedirects, &r.PresignedRedirects, false)
	plain(in.Architectures, &r.Architectures, nil)
	plain(in.AptComponents, &r.AptComponents, nil)
	in.ValidUntilDays.pointer(&r.ValidUntilDays)
	plain(in.UpstreamKeys, &r.UpstreamKeys, "")
	plain(in.UpstreamUnsigned, &r.UpstreamUnsigned, false)
	plain(in.YumSQLite, &r.YumSQLite, false)
	plain(in.YumCompression, &r.YumCompression, "")
	in.MinimumAgeDays.pointer(&r.MinimumAgeDays)
	in.QuotaBytes.pointer(&r.QuotaBytes)
	in.QuotaArtifacts.pointer(&r.QuotaArtifacts)
	in.CleanupKeepLast.pointer(&r.CleanupKeepLast)
	plain(in.CleanupKeepLatest, &r.CleanupKeepLatest, false)
	plain(in.CleanupNamePattern, &r.CleanupNamePattern, "")
	plain(in.CleanupVersionPattern, &r.CleanupVersionPattern, "")
	in.ClaimNames.pointer(&r.ClaimNames)
	plain(retyped[config.Disposition](in.ContentDisposition), &r.ContentDisposition, "")
	plain(retyped[config.Policy](in.ConflictPolicy), &r.ConflictPolicy, "")
	return applyUpstreamAuth(in.UpstreamAuth, r)
}

func retyped[D ~string](o optional[string]) optional[D] {
	return optional[D]{set: o.set, null: o.null, value: D(o.value)}
}

// applyMembers turns names into ids.
func (a *api) applyMembers(ctx context.Context, in *RepositoryFields, r *config.Repository) error {
	if in.Members.set {
		ids, err := a.Registry.MemberIDs(ctx, "members", in.Members.value)
		if err != nil {
			return err
		}
		r.Members = ids
	}
	if !in.WriteMember.set {
		return nil
	}
	r.WriteMember = ""
	if in.WriteMember.value == "" {
		return nil
	}
	ids, err := a.Registry.MemberIDs(ctx, "write_member", []string{in.WriteMember.value})
	if err != nil {
		return err
	}
	r.WriteMember = ids[0]
	return nil
}

// applyUpstreamAuth keeps what the client does not name, and the password that
// it has only seen masked.
func applyUpstreamAuth(in optional[UpstreamAuthRequest], r *config.Repository) error {
	if !in.set {
		return nil
	}
	if in.null {
		r.UpstreamAuth = nil
		return nil
	}
	next := config.UpstreamAuth{}
	if r.UpstreamAuth != nil {
		next = *r.UpstreamAuth
	}
	plain(in.value.Username, &next.Username, "")
	switch p := in.value.Password; {
	case p.set && p.value == config.Mask:
		if next.Password.IsZero() {
			return invalid("upstream_auth.password", "there is no stored password that %s could stand for", config.Mask)
		}
	case p.set:
		next.Password = config.NewSecret(p.value)
	}
	r.UpstreamAuth = &next
	return nil
}

// showRepository is the document without its counts.
func (a *api) showRepository(c *config.Repository) *Repository {
	r := &Repository{
		Name: c.Name, RepoType: string(c.Type), Format: c.Format, Store: filled(a.Registry.StoreName(c.Store)),
		UpstreamURL: filled(c.UpstreamURL), CacheTTLSecs: c.CacheTTL, Listen: filled(c.Listen),
		CleanupMaxUnaccessedDays: c.CleanupMaxUnaccessedDays, CleanupMaxAgeDays: c.CleanupMaxAgeDays,
		CleanupUntaggedManifests: c.CleanupUntaggedManifests, ContentDisposition: filled(string(c.ContentDisposition)),
		RepodataDepth: c.RepodataDepth, CreatedAt: Timestamp(c.Created),
		ConflictPolicy: string(c.Conflicts()), HistoryDays: c.HistoryDays, PresignedRedirects: c.PresignedRedirects,
		UpstreamRealms: c.UpstreamRealms, MutablePatterns: c.MutablePatterns, ImmutablePatterns: c.ImmutablePatterns,
		AllowPatterns: c.AllowPatterns, BlockPatterns: c.BlockPatterns, NegativeTTLSecs: c.NegativeTTL,
		Architectures: c.Architectures, AptComponents: c.AptComponents, ValidUntilDays: c.ValidUntilDays,
		UpstreamKeys: filled(c.UpstreamKeys), UpstreamUnsigned: c.UpstreamUnsigned,
		YumSQLite: c.YumSQLite, YumCompression: filled(c.YumCompression),
		MinimumAgeDays: c.MinimumAgeDays, QuotaBytes: c.QuotaBytes, QuotaArtifacts: c.QuotaArtifacts,
		CleanupKeepLast: c.CleanupKeepLast, CleanupKeepLatest: c.CleanupKeepLatest,
		CleanupNamePattern: filled(c.CleanupNamePattern), CleanupVersionPattern: filled(c.CleanupVersionPattern),
		ClaimNames: c.ClaimNames,
	}
	if c.UpstreamAuth != nil {
		r.UpstreamAuth = &UpstreamAuth{Username: c.UpstreamAuth.Username, Password: config.Mask}
	}
	switch c.Type {
	case config.Cache:
		if r.CacheTTLSecs == nil {
			r.CacheTTLSecs = new(int64)
		}
	case config.Proxy:
		r.Members = a.Registry.MemberNames(c.Members)
		if names := a.Registry.MemberNames([]string{c.WriteMember}); len(names) == 1 {
			r.WriteMember = &names[0]
		}
	}
	return r
}

// filled is nil for "".
func filled(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
