package config

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// MaxNesting is how many groups may be within each other.
const MaxNesting = 8

// Known is what a document is judged against: what else is configured, and
// what this server can do. [Registry.Known] returns it.
type Known struct {
	Formats      []string               // built into this server
	Stores       map[string]*Store      // by id
	Repositories map[string]*Repository // by id

	// emptied: the group lost all its members to deletion, and the change at
	// hand is about something else.
	emptied bool
}

// Normalize brings r into the form that is judged and stored: user and
// password in the upstream's URL move to UpstreamAuth, unless that is set.
func (r *Repository) Normalize() {
	r.UpstreamURL = strings.TrimSpace(r.UpstreamURL)
	if u, err := url.Parse(r.UpstreamURL); err == nil && u.User != nil {
		if r.UpstreamAuth == nil {
			password, _ := u.User.Password()
			r.UpstreamAuth = &UpstreamAuth{Username: u.User.Username(), Password: NewSecret(password)}
		}
		u.User = nil
		r.UpstreamURL = u.String()
	}
	if a := r.UpstreamAuth; a != nil && a.Username == "" && a.Password.IsZero() {
		r.UpstreamAuth = nil
	}
}

// Validate returns a [FieldError] for the first rule that r breaks. Call
// Normalize before.
func (r *Repository) Validate(k Known) error {
	return first(
		ValidName("name", r.Name),
		r.validateKind(k),
		r.validateUpstream(),
		r.validateMembers(k),
		r.validateServing(),
		r.validateListen(k),
		r.validateKeeping(),
		r.validateQuarantine(),
	)
}

// Bounds of a quarantine, and its bytes in all, far below what a value may have.
const (
	maxQuarantined     = 100
	maxQuarantineItem  = 900
	maxQuarantineText  = 512
	maxQuarantineBytes = 12 << 10
)

func (r *Repository) validateQuarantine() error {
	if len(r.Quarantine) > 0 && r.Type == Proxy {
		return invalid("quarantine", "is of the members of a group, where the files are")
	}
	if len(r.Quarantine) > maxQuarantined {
		return invalid("quarantine", "must have at most %d entries; block_patterns are for more", maxQuarantined)
	}
	seen, size := map[string]bool{}, 0
	for _, q := range r.Quarantine {
		if err := first(text("item", q.Item, maxQuarantineItem), text("reason", q.Reason, maxQuarantineText), text("created_by", q.By, 256)); err != nil {
			return err
		}
		size += len(q.Item) + len(q.Reason) + len(q.By)
		switch {
		case strings.Trim(q.Item, "/") == "" || strings.HasPrefix(q.Item, "/"):
			return invalid("item", "must be a release, or a path that does not begin with a slash")
		case strings.TrimSpace(q.Reason) == "":
			return invalid("reason", "must not be empty: who asks for it is told")
		case seen[q.Item]:
			return invalid("item", "%.64q is there twice", q.Item)
		case size > maxQuarantineBytes:
			return invalid("quarantine", "must have at most %d bytes", maxQuarantineBytes)
		}
		seen[q.Item] = true
	}
	return nil
}

func (r *Repository) validateKind(k Known) error {
	if err := oneOf("repo_type", r.Type, Hosted, Cache, Proxy); err != nil {
		return err
	}
	switch {
	case r.Type == "":
		return misshapen("repo_type", "is missing")
	case r.Format == "":
		return misshapen("format", "is missing")
	case !slices.Contains(k.Formats, r.Format) && slices.Contains(knownFormats, r.Format):
		return invalid("format", "this server was built without %s; it has %s", r.Format, strings.Join(k.Formats, ", "))
	case !slices.Contains(k.Formats, r.Format):
		return misshapen("format", "must be one of %s", strings.Join(k.Formats, ", "))
	case r.Store == "" || k.Stores[r.Store] == nil:
		return invalid("store", "there is no such store")
	case r.Shards < 1 || r.Shards > 1<<16:
		return invalid("shards", "must be 1 to %d", 1<<16)
	}
	return nil
}

func (r *Repository) validateUpstream() error {
	switch {
	case r.Type == Cache && r.UpstreamURL == "":
		return invalid("upstream_url", "is required for a cache")
	case r.Type != Cache && r.UpstreamURL != "":
		return invalid("upstream_url", "only a cache has an upstream")
	case r.Type != Cache && r.UpstreamAuth != nil:
		return invalid("upstream_auth", "only a cache has an upstream")
	}
	if r.UpstreamURL != "" {
		if err := httpURL("upstream_url", r.UpstreamURL); err != nil {
			return err
		}
	}
	if a := r.UpstreamAuth; a != nil {
		if err := a.validate(); err != nil {
			return err
		}
	}
	return first(
		list("upstream_realms", r.UpstreamRealms, func(h string) error { return hostPort("upstream_realms", h) }),
		optional("cache_ttl_secs", r.CacheTTL, -1, maxSeconds),
		optional("negative_ttl_secs", r.NegativeTTL, 0, maxSeconds),
		patterns("mutable_patterns", r.MutablePatterns),
		patterns("immutable_patterns", r.ImmutablePatterns),
		patterns("allow_patterns", r.AllowPatterns),
		patterns("block_patterns", r.BlockPatterns),
	)
}

func (a *UpstreamAuth) validate() error {
	if err := text("upstream_auth.username", a.Username, maxText); err != nil {
		return err
	}
	if strings.Contains(a.Username, ":") {
		return invalid("upstream_auth.username", "must not have a colon")
	}
	return secret("upstream_auth.password", a.Password)
}

// secret judges one; a sealed one was judged when it was sealed.
func secret(field string, s Secret) error {
	clear, err := s.Reveal()
	if err != nil {
		return nil //nolint:nilerr // it stays as it is
	}
	return text(field, clear, maxPassword)
}

func (r *Repository) validateServing() error {
	switch {
	case r.RepodataDepth != nil && r.Format != "yum":
		return invalid("repodata_depth", "is for yum only")
	case r.RepodataDepth != nil && r.Type == Cache:
		return invalid("repodata_depth", "is not for a cache")
	case r.YumSQLite && r.Format != "yum":
		return invalid("yum_sqlite", "is for yum only")
	case r.YumCompression != "" && r.Format != "yum":
		return invalid("yum_compression", "is for yum only")
	case len(r.Architectures) > 0 && r.Format != "apt":
		return invalid("architectures", "is for apt only")
	case len(r.AptComponents) > 0 && r.Format != "apt":
		return invalid("apt_components", "is for apt only")
	case r.ValidUntilDays != nil && r.Format != "apt":
		return invalid("valid_until_days", "is for apt only")
	case r.UpstreamKeys != "" && (r.Type != Cache || r.Format != "apt" && r.Format != "yum"):
		return invalid("upstream_keys", "is for caches of apt and yum only")
	case r.UpstreamUnsigned && r.UpstreamKeys == "":
		return invalid("upstream_unsigned", "says nothing without upstream_keys")
	case r.Listen != "" && r.Format != "docker":
		return invalid("listen", "is for docker only")
	}
	return first(
		oneOf("conflict_policy", r.ConflictPolicy, Allow, Deny, AllowIdentical),
		oneOf("content_disposition", r.ContentDisposition, Attachment, Inline),
		oneOf("yum_compression", r.YumCompression, "gz", "zst"),
		optional("repodata_depth", r.RepodataDepth, 0, 5),
		optional("valid_until_days", r.ValidUntilDays, 1, maxDays),
		tokens("architectures", r.Architectures),
		tokens("apt_components", r.AptComponents),
		listen(r.Listen),
		publicKeys("upstream_keys", r.UpstreamKeys),
	)
}

// listen takes a port, ":port", "host:port" or a host name.
func listen(s string) error {
	port := strings.TrimPrefix(s, ":")
	if _, err := strconv.Atoi(port); s == "" || err == nil && validPort(port) {
		return nil
	}
	return hostPort("listen", s)
}

func (r *Repository) validateKeeping() error {
	const most = 1 << 60
	return first(
		optional("cleanup_max_unaccessed_days", r.CleanupMaxUnaccessedDays, 1, maxDays),
		optional("cleanup_max_age_days", r.CleanupMaxAgeDays, 1, maxDays),
		optional("history_days", r.HistoryDays, 0, maxDays),
		optional("minimum_age_days", r.MinimumAgeDays, 0, maxDays),
		optional("cleanup_keep_last", r.CleanupKeepLast, 1, 1_000_000),
		patterns("cleanup_name_pattern", given(r.CleanupNamePattern)),
		patterns("cleanup_version_pattern", given(r.CleanupVersionPattern)),
		optional("quota_bytes", r.QuotaBytes, 0, most),
		optional("quota_artifacts", r.QuotaArtifacts, 0, most),
	)
}

// given is nothing for "".
func given(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}
