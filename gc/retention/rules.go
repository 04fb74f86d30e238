package retention

import (
	"fmt"
	"regexp"
	"time"

	"granary/repo/config"
)

// Rules are what a repository says of what it keeps.
type Rules struct {
	MaxAge        time.Duration // since publication; 0: no rule
	MaxUnaccessed time.Duration // since the last read or, if none is known, publication; 0: no rule
	KeepLast      int           // versions of each package that stay, the newest; 0: no rule
	KeepLatest    bool          // the greatest version of each package stays
	Names         *regexp.Regexp
	Versions      *regexp.Regexp // only matching packages and versions go; nil: all
	Untagged      bool           // records that nothing keeps any more go
}

const day = 24 * time.Hour

// RulesOf reads them from a repository's configuration.
func RulesOf(c *config.Repository) (Rules, error) {
	days := func(n *int64) time.Duration {
		if n == nil {
			return 0
		}
		return time.Duration(*n) * day
	}
	r := Rules{
		MaxAge: days(c.CleanupMaxAgeDays), MaxUnaccessed: days(c.CleanupMaxUnaccessedDays), KeepLatest: c.CleanupKeepLatest,
		Untagged: c.CleanupUntaggedManifests != nil && *c.CleanupUntaggedManifests,
	}
	if c.CleanupKeepLast != nil {
		r.KeepLast = int(*c.CleanupKeepLast)
	}
	for _, p := range []struct {
		text string
		to   **regexp.Regexp
	}{{c.CleanupNamePattern, &r.Names}, {c.CleanupVersionPattern, &r.Versions}} {
		if p.text == "" {
			continue
		}
		re, err := regexp.Compile(p.text)
		if err != nil {
			return Rules{}, fmt.Errorf("cleanup pattern of repository %s: %w", c.Name, err)
		}
		*p.to = re
	}
	return r, nil
}

// None tells whether nothing would ever go.
func (r Rules) None() bool {
	return r.MaxAge == 0 && r.MaxUnaccessed == 0 && r.KeepLast == 0 && !r.Untagged
}

// drops tells whether versions go by these rules at all.
func (r Rules) drops() bool { return r.MaxAge != 0 || r.MaxUnaccessed != 0 || r.KeepLast != 0 }

// judge decides on the versions of one package, the newest first.
func (r Rules) judge(pkg string, versions []*version, now time.Time) {
	var latest *version
	for _, v := range versions {
		if latest == nil || greater(v.name, latest.name) {
			latest = v
		}
	}
	for i, v := range versions {
		switch {
		case r.Names != nil && !r.Names.MatchString(pkg):
			v.reason = "its name does not match cleanup_name_pattern"
		case r.Versions != nil && !r.Versions.MatchString(v.name):
			v.reason = "its version does not match cleanup_version_pattern"
		case i < r.KeepLast:
			v.reason = fmt.Sprintf("one of the last %d versions", r.KeepLast)
		case r.KeepLatest && v == latest:
			v.reason = "the latest version"
		default:
			v.drop, v.reason = r.expired(v, now)
		}
	}
}

// expired is asked of what nothing protects.
func (r Rules) expired(v *version, now time.Time) (bool, string) {
	age, idle := now.Sub(v.published), now.Sub(v.used)
	switch {
	case r.MaxAge != 0 && age > r.MaxAge:
		return true, fmt.Sprintf("published %d days ago, more than %d", age/day, r.MaxAge/day)
	case r.MaxUnaccessed != 0 && idle > r.MaxUnaccessed:
		return true, fmt.Sprintf("not read for %d days, more than %d", idle/day, r.MaxUnaccessed/day)
	case r.MaxAge == 0 && r.MaxUnaccessed == 0:
		return true, fmt.Sprintf("beyond the last %d versions", r.KeepLast)
	case r.MaxUnaccessed != 0 && r.MaxAge == 0:
		return false, fmt.Sprintf("read %d days ago", idle/day)
	case r.MaxUnaccessed == 0:
		return false, fmt.Sprintf("published %d days ago", age/day)
	}
	return false, fmt.Sprintf("published %d days ago, read %d days ago", age/day, idle/day)
}
