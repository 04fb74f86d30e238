package config

import (
	"fmt"
	"strings"
	"time"

	"granary/kv"
)

// Type is how a repository comes by its records.
type Type string

// The types of repositories, as REST clients spell them.
const (
	Hosted Type = "hosted"
	Cache  Type = "cache"
	Proxy  Type = "proxy" // a group: the ordered merge of its members
)

// Policy says what becomes of an upload whose name is taken.
type Policy string

// The conflict policies.
const (
	Allow          Policy = "allow"           // replace
	Deny           Policy = "deny"            // refuse
	AllowIdentical Policy = "allow-identical" // refuse other bytes
)

// Disposition is how raw files are offered to a browser.
type Disposition string

// The content dispositions; "" stands for Attachment.
const (
	Attachment Disposition = "attachment"
	Inline     Disposition = "inline"
)

// Repository is a repository as stored. A nil pointer, an empty string or list
// is a field that was not given. What a [Registry] returns is shared: it must
// not be changed.
type Repository struct {
	kv.Extra `cbor:"-"`

	ID      string    `cbor:"1,keyasint"` // ULID in lower case; never changes
	Name    string    `cbor:"2,keyasint"`
	Type    Type      `cbor:"3,keyasint"`
	Format  string    `cbor:"4,keyasint"`
	Store   string    `cbor:"5,keyasint"` // store id
	Shards  int       `cbor:"6,keyasint"` // partitions of records; never changes
	Created time.Time `cbor:"7,keyasint"`
	// Pending: it is being made, as a copy of another, and is not found by its
	// name until [Registry.Publish]. Its records are as good as others.
	Pending bool `cbor:"8,keyasint,omitempty"`
	// Abandoned: it was pending and never becomes a repository.
	Abandoned bool `cbor:"9,keyasint,omitempty"`

	// Of a cache. Times are in seconds.
	UpstreamURL       string        `cbor:"10,keyasint,omitempty"`
	UpstreamAuth      *UpstreamAuth `cbor:"11,keyasint,omitempty"`
	UpstreamRealms    []string      `cbor:"12,keyasint,omitempty"` // hosts that may receive UpstreamAuth as token realms
	CacheTTL          *int64        `cbor:"13,keyasint,omitempty"` // nil = 0: ask on every request; -1: never
	NegativeTTL       *int64        `cbor:"14,keyasint,omitempty"` // nil: the smaller of CacheTTL and a minute
	MutablePatterns   []string      `cbor:"15,keyasint,omitempty"`
	ImmutablePatterns []string      `cbor:"16,keyasint,omitempty"`
	AllowPatterns     []string      `cbor:"17,keyasint,omitempty"`
	BlockPatterns     []string      `cbor:"18,keyasint,omitempty"`
	// UpstreamKeys are armored OpenPGP public keys; with them the signatures of
	// the upstream's documents are verified. "": they are passed on.
	UpstreamKeys string `cbor:"60,keyasint,omitempty"`
	// UpstreamUnsigned passes on what no key has signed, or has expired, as well.
	UpstreamUnsigned bool `cbor:"61,keyasint,omitempty"`

	// Of a group.
	Members     []string `cbor:"20,keyasint,omitempty"` // repository ids, in order
	WriteMember string   `cbor:"21,keyasint,omitempty"` // repository id

	ConflictPolicy     Policy      `cbor:"30,keyasint,omitempty"` // "": see Conflicts
	ContentDisposition Disposition `cbor:"31,keyasint,omitempty"`
	PresignedRedirects bool        `cbor:"32,keyasint,omitempty"`
	Listen             string      `cbor:"33,keyasint,omitempty"` // docker: own port or host name
	RepodataDepth      *int64      `cbor:"34,keyasint,omitempty"` // yum: 0..5
	YumSQLite          bool        `cbor:"35,keyasint,omitempty"`
	YumCompression     string      `cbor:"39,keyasint,omitempty"` // "": gz
	Architectures      []string    `cbor:"36,keyasint,omitempty"` // apt; nil: what was uploaded
	AptComponents      []string    `cbor:"37,keyasint,omitempty"`
	ValidUntilDays     *int64      `cbor:"38,keyasint,omitempty"` // apt

	CleanupMaxUnaccessedDays *int64 `cbor:"50,keyasint,omitempty"`
	CleanupMaxAgeDays        *int64 `cbor:"51,keyasint,omitempty"`
	CleanupUntaggedManifests *bool  `cbor:"52,keyasint,omitempty"`
	HistoryDays              *int64 `cbor:"53,keyasint,omitempty"` // nil: the least
	MinimumAgeDays           *int64 `cbor:"54,keyasint,omitempty"`
	QuotaBytes               *int64 `cbor:"55,keyasint,omitempty"`
	QuotaArtifacts           *int64 `cbor:"56,keyasint,omitempty"`

	// What protects from the clean-up, or is all that it is about.
	CleanupKeepLast       *int64 `cbor:"70,keyasint,omitempty"` // versions of each package
	CleanupKeepLatest     bool   `cbor:"71,keyasint,omitempty"`
	CleanupNamePattern    string `cbor:"72,keyasint,omitempty"` // regular expressions
	CleanupVersionPattern string `cbor:"73,keyasint,omitempty"`
	// ClaimNames, of a group: upstreams are not asked for packages that a
	// hosted member has. nil: yes.
	ClaimNames *bool `cbor:"57,keyasint,omitempty"`

	// Quarantine is what an administrator has put away by hand, in the order in
	// which it was.
	Quarantine []Quarantined `cbor:"58,keyasint,omitempty"`

	// Rules is another, and one that it never was, whenever a field changes that
	// decides what documents show. It is part of their stamps: what was published
	// under earlier rules does not come back when the rules do, with the date of
	// then, which clients that have read later ones would take for old.
	Rules string `cbor:"59,keyasint,omitempty"`
}

// rules are the fields that decide what documents show.
func (r *Repository) rules() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q %q %q %q %q %q", r.UpstreamURL, r.AllowPatterns, r.BlockPatterns, r.Members, r.Architectures, r.AptComponents)
	for _, n := range []*int64{r.MinimumAgeDays, r.ValidUntilDays, r.RepodataDepth} {
		if n == nil {
			b.WriteString(" -")
		} else {
			fmt.Fprintf(&b, " %d", *n)
		}
	}
	fmt.Fprintf(&b, " %t %t %q", r.ClaimNames == nil || *r.ClaimNames, r.YumSQLite, r.YumCompression)
	for _, q := range r.Quarantine {
		fmt.Fprintf(&b, " %q", q.Item)
	}
	return b.String()
}

// Quarantined is something that is kept and not given to anybody.
type Quarantined struct {
	kv.Extra `cbor:"-"`

	// Item is "package@version", a package, the path of a file, or that of a
	// directory with a slash at its end.
	Item   string    `cbor:"1,keyasint"`
	Reason string    `cbor:"2,keyasint"` // told to who asks for it
	By     string    `cbor:"3,keyasint,omitempty"`
	At     time.Time `cbor:"4,keyasint"`
}

// UpstreamAuth is what a cache tells its upstream, and nobody else.
type UpstreamAuth struct {
	kv.Extra `cbor:"-"`

	Username string `cbor:"1,keyasint,omitempty"`
	Password Secret `cbor:"2,keyasint"`
}

// Conflicts is the conflict policy in force: without a setting raw files may be
// replaced and published packages may not.
func (r *Repository) Conflicts() Policy {
	switch {
	case r.ConflictPolicy != "":
		return r.ConflictPolicy
	case r.Format == "raw":
		return Allow
	}
	return AllowIdentical
}

// Dead is what is kept of a deleted repository until its records are drained;
// its id stays for ever.
type Dead struct {
	kv.Extra `cbor:"-"`

	Repository Repository `cbor:"1,keyasint"`
	Deleted    time.Time  `cbor:"2,keyasint"`
}

// claim is the value of a name in cfg/name.
type claim struct {
	kv.Extra `cbor:"-"`

	ID string `cbor:"1,keyasint"` // of the repository
}

func (r *Repository) secrets() []*Secret {
	if r.UpstreamAuth == nil {
		return nil
	}
	return []*Secret{&r.UpstreamAuth.Password}
}

func (d *Dead) secrets() []*Secret { return d.Repository.secrets() }
