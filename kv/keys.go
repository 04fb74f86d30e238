package kv

import (
	"fmt"
	"hash/fnv"
	"math"
	"strconv"
	"strings"
	"time"
)

// The key space, whole; keys are put together here and nowhere else.
//
//	cfg/<kind>               <id>                     configuration; every node caches all of it
//	cfg/name                 <name>                   a repository's name → its id
//	cfg/epoch                -                        changes with every change of configuration
//	a/<repo>/<shard>         <scope>//<name>          record
//	a/<repo>/<shard>         <dir>//\x01<child>       directory marker, before all records of its scope
//	h/<repo>/<shard>         <scope>//<name>//<since> what an overwrite or a delete replaced
//	h/<repo>/<shard>         <scope>//\x01<path>//<since> what an upstream document was before
//	t/<repo>/<shard>         <scope>//<name>          last access; the only blind one, expiring
//	t/token                  <token id>               last use of an API token; blind and expiring as well
//	i/<repo>/<shard>         <scope>//stamp           stamp of a scope
//	i/<repo>/<shard>         <scope>//date            latest date of a publication of it
//	i/<repo>/<shard>         <scope>//pub/<key>       publication
//	i/<repo>/<shard>         <scope>//doc/<path>      upstream document, or that there is none
//	s                        <repo>//<name>           snapshot
//	s/<repo>                 commit/<id>              makes the records that name it visible
//	s/<repo>                 pruned                   up to when history is gone
//	b/<store>/<2 hex>        <BLAKE3 hex>             reference to a blob
//	u/<repo>/<2 hex>         <uuid>                   upload session
//	u/<repo>/<2 hex>         <uuid>//<part>-<nonce>   its parts but the first
//	j/<day>                  <time>-<node>-<number>   chunk of the audit log; expiring
//	x/<2 hex>                <SHA-256 hex>            ID token that was exchanged; expiring
//	n                        <node id>                node
//	l/<2 hex>                <name>                   lease
//	k/open                   <slot>                   task that is not over; one per slot
//	k/done                   <task id>                task that is over
//	k/last                   <slot>                   when a task of the slot was last started
//	k/<task id>              <plan>/<number>          task shard, of the plan of that epoch
//	w/<webhook>/open, …/done <delivery id>            what a webhook is to be told, and was; expiring
//	c/<repo>                 <node id>, base          counters
//	g                        round, dry, <repo>       the collector's last round; drains of deleted repositories
//	g/<round>                <part>/<...>             what its parts have come to
//
// A shard is hash(scope) modulo the repository's fixed number of shards, so
// that all records of a scope share a partition. Scopes and names have no
// empty segments and no control characters, so that "//" and \x01 are ours.

const (
	sep    = "//"
	marker = "\x01"
)

// Expiring are the beginnings of the partitions whose items may expire: last
// accesses, what upstreams do not have, leases, deliveries.
var Expiring = []string{"t/", "i/", "l/", "j/", "x/", "w/"}

// Config names a configuration document of a kind: repo, store, user, role,
// setting, key, dead, name, signing, token, identity, webhook.
func Config(kind, id string) Key { return Key{"cfg/" + kind, id} }

// ConfigPartition holds all documents of a kind.
func ConfigPartition(kind string) string { return "cfg/" + kind }

// Epoch is the key whose version changes with every change of configuration.
func Epoch() Key { return Key{"cfg/epoch", "-"} }

// Space builds the keys of one repository.
type Space struct {
	Repo   string // the id that never changes
	Shards int    // fixed when the repository is made
}

// Shard returns the shard of a scope.
func (s Space) Shard(scope string) int {
	h := fnv.New64a()
	h.Write([]byte(scope)) //nolint:errcheck // hash.Hash never returns an error
	x := h.Sum64()
	return int((x ^ x>>32) % uint64(max(1, s.Shards)))
}

func (s Space) partition(letter string, shard int) string {
	b := make([]byte, 0, 64)
	b = append(append(append(append(b, letter...), '/'), s.Repo...), '/')
	for width := 0x1000; width > shard && width > 1; width >>= 4 {
		b = append(b, '0')
	}
	return string(strconv.AppendInt(b, int64(shard), 16))
}

// Records is the partition of a shard of records.
func (s Space) Records(shard int) string { return s.partition("a", shard) }

// History is the partition of a shard of history.
func (s Space) History(shard int) string { return s.partition("h", shard) }

// Access is the partition of a shard of last accesses.
func (s Space) Access(shard int) string { return s.partition("t", shard) }

// Index is the partition of a shard of stamps, publications and upstream documents.
func (s Space) Index(shard int) string { return s.partition("i", shard) }

// Record names a record.
func (s Space) Record(scope, name string) Key {
	return Key{s.Records(s.Shard(scope)), scope + sep + name}
}

// Marker names the marker of directory child in dir.
func (s Space) Marker(dir, child string) Key {
	return Key{s.Records(s.Shard(dir)), dir + sep + marker + child}
}

// Replaced names the history of a record that was written at since.
func (s Space) Replaced(scope, name string, since int64) Key {
	return Key{s.History(s.Shard(scope)), fmt.Sprintf("%s%s%s%s%016x", scope, sep, name, sep, since)}
}

// ReplacedRange bounds the history of one record, up to what was written at
// the time at, included.
func (s Space) ReplacedRange(scope, name string, at int64) (from, to string) {
	from = scope + sep + name + sep
	if at == math.MaxInt64 {
		return from, from + "g"
	}
	return from, fmt.Sprintf("%s%016x", from, max(at, -1)+1)
}

// ReplacedDocument is the name under which what an upstream document was is
// kept in the history of its scope.
func ReplacedDocument(path string) string { return marker + path }

// SplitReplaced takes the sort key of history apart. The name of a document
// is its path, and ok is false for what is no such key.
func SplitReplaced(sort string) (scope, name string, since int64, document, ok bool) {
	scope, rest, ok := strings.Cut(sort, sep)
	i := strings.LastIndex(rest, sep)
	if !ok || i < 0 {
		return "", "", 0, false, false
	}
	n, err := strconv.ParseUint(rest[i+len(sep):], 16, 63)
	if err != nil || len(rest)-i-len(sep) != 16 {
		return "", "", 0, false, false
	}
	name, document = strings.CutPrefix(rest[:i], marker)
	return scope, name, int64(n), document, name != ""
}

// Accessed names the last access of a record.
func (s Space) Accessed(scope, name string) Key {
	return Key{s.Access(s.Shard(scope)), scope + sep + name}
}

// TokenUses holds the last uses of API tokens.
const TokenUses = "t/token"

// TokenUse names the last use of an API token.
func TokenUse(id string) Key { return Key{TokenUses, id} }

// Stamp names the stamp of a scope.
func (s Space) Stamp(scope string) Key {
	return Key{s.Index(s.Shard(scope)), scope + sep + "stamp"}
}

// Dated names the latest date that a publication of a scope has.
func (s Space) Dated(scope string) Key {
	return Key{s.Index(s.Shard(scope)), scope + sep + "date"}
}

// Publication names a publication of a scope by its key.
func (s Space) Publication(scope, key string) Key {
	return Key{s.Index(s.Shard(scope)), scope + sep + "pub/" + key}
}

// Publications bounds the publications of a scope.
func (s Space) Publications(scope string) (from, to Key) {
	partition := s.Index(s.Shard(scope))
	return Key{partition, scope + sep + "pub/"}, Key{partition, scope + sep + "pub0"}
}

// Document names an upstream document of a scope.
func (s Space) Document(scope, path string) Key {
	return Key{s.Index(s.Shard(scope)), scope + sep + "doc/" + path}
}

// Commit names what makes visible the records that name id.
func (s Space) Commit(id string) Key { return Key{s.Times(), "commit/" + id} }

// Pruned names the time up to which history is gone.
func (s Space) Pruned() Key { return Key{s.Times(), "pruned"} }

// Times is the partition of a repository's commits and of what is said of its
// history.
func (s Space) Times() string { return SnapshotPartition + "/" + s.Repo }

// Snapshot names a snapshot of a repository by its id.
func Snapshot(repo, name string) Key { return Key{SnapshotPartition, repo + sep + name} }

// SnapshotPartition holds the snapshots of all repositories.
const SnapshotPartition = "s"

// SnapshotRange bounds the snapshots of a repository.
func SnapshotRange(repo string) (from, to string) { return repo + sep, repo + "/0" }

// SplitSnapshot takes the sort key of a snapshot apart.
func SplitSnapshot(sort string) (repo, name string) {
	repo, name, _ = strings.Cut(sort, sep)
	return repo, name
}

// ScopeRange bounds the records and markers of a scope, markers first.
func ScopeRange(scope string) (from, to string) { return scope + sep, scope + "/0" }

// NamesRange bounds the records of a scope without its markers, those whose
// name is at least from.
func NamesRange(scope, name string) (from, to string) {
	return scope + sep + max(name, "\x02"), scope + "/0"
}

// MarkersRange bounds the markers of a directory, those of child on.
func MarkersRange(dir, child string) (from, to string) {
	return dir + sep + marker + child, dir + sep + "\x02"
}

// TreeRange bounds, within one shard, the records and markers of a directory
// and of all below it; "" is everything.
func TreeRange(dir string) (from, to string) {
	if dir == "" {
		return "", ""
	}
	return dir + "/", dir + "0"
}

// SplitRecord takes the sort key of a record, or of a marker, apart. For a
// marker scope is the directory and name the child.
func SplitRecord(sort string) (scope, name string, isMarker bool) {
	scope, name, _ = strings.Cut(sort, sep)
	name, isMarker = strings.CutPrefix(name, marker)
	return scope, name, isMarker
}

// Reference names the reference to content in a store by its BLAKE3 in hex.
func Reference(store, hash string) Key {
	return Key{"b/" + store + "/" + hash[:min(2, len(hash))], hash}
}

// ReferencePartition holds the references whose hash begins with prefix, two
// hex digits.
func ReferencePartition(store, prefix string) string { return "b/" + store + "/" + prefix }

// UploadPartition holds the sessions of a repository whose id begins with
// prefix, two hex digits.
func UploadPartition(repo, prefix string) string { return "u/" + repo + "/" + prefix }

// Upload names an upload session by its UUID.
func (s Space) Upload(id string) Key {
	return Key{s.Uploads(id[:min(2, len(id))]), id}
}

// Uploads is the partition of the sessions whose UUID begins with prefix, two
// hex digits.
func (s Space) Uploads(prefix string) string { return UploadPartition(s.Repo, prefix) }

// UploadPart names a part of an upload session. Of several writers who append
// the same part the session says whose nonce counts.
func (s Space) UploadPart(id string, part int, nonce uint64) Key {
	return Key{s.Uploads(id[:min(2, len(id))]), fmt.Sprintf("%s%s%08d-%016x", id, sep, part, nonce)}
}

// UploadPartsRange bounds the parts of an upload session.
func UploadPartsRange(id string) (from, to string) { return id + sep, id + "/0" }

// AuditDay is the partition of the audit log of the day, in UTC, that t is in.
func AuditDay(t time.Time) string { return "j/" + t.UTC().Format("20060102") }

// Audit names a chunk of the audit log by the time of its first entry, the node
// that writes it and the node's count.
func Audit(t time.Time, node string, number uint64) Key {
	return Key{AuditDay(t), fmt.Sprintf("%016x-%s-%08x", uint64(t.UnixNano()), node, number)}
}

// AuditTime is the time in the sort key of a chunk, false if it is none.
func AuditTime(sort string) (time.Time, bool) {
	hex, _, ok := strings.Cut(sort, "-")
	ns, err := strconv.ParseUint(hex, 16, 63)
	return time.Unix(0, int64(ns)), ok && err == nil && len(hex) == 16
}

// UsedToken names the note that an ID token was exchanged, by its hash in hex.
func UsedToken(hash string) Key { return Key{"x/" + hash[:min(2, len(hash))], hash} }

// Node names a node's record.
func Node(id string) Key { return Key{"n", id} }

// NodePartition holds all nodes.
const NodePartition = "n"

// Lease names a lease.
func Lease(name string) Key {
	h := fnv.New32a()
	h.Write([]byte(name)) //nolint:errcheck // hash.Hash never returns an error
	return Key{fmt.Sprintf("l/%02x", h.Sum32()&0xff), name}
}

// LeasePartitions are all that leases lie in.
func LeasePartitions() []string {
	out := make([]string, 256)
	for i := range out {
		out[i] = fmt.Sprintf("l/%02x", i)
	}
	return out
}

// Counter names a node's share of a repository's counters.
func Counter(repo, node string) Key { return Key{CounterPartition(repo), node} }

// CounterPartition holds the counters of a repository.
func CounterPartition(repo string) string { return "c/" + repo }

// Delivery names what a webhook is to be told, or, with done, was told. Ids
// begin with their time.
func Delivery(webhook, id string, done bool) Key {
	return Key{DeliveryPartition(webhook, done), id}
}

// DeliveryPartition holds the deliveries of a webhook.
func DeliveryPartition(webhook string, done bool) string {
	if done {
		return "w/" + webhook + "/done"
	}
	return "w/" + webhook + "/open"
}

// Round names the record of the collector's last round of a kind: round or dry.
func Round(kind string) Key { return Key{"g", kind} }

// Drain names what is known of draining a deleted repository.
func Drain(repo string) Key { return Key{"g", repo} }

// RoundPart names what one part of a round has come to.
func RoundPart(round, part string) Key { return Key{RoundPartition(round), part} }

// RoundPartition holds the parts of a round.
func RoundPartition(round string) string { return "g/" + round }

// The partitions of tasks, see package cluster/task.
const (
	OpenTasks = "k/open"
	DoneTasks = "k/done"
)

// OpenTask names the task of a slot that is not over.
func OpenTask(slot string) Key { return Key{OpenTasks, slot} }

// DoneTask names a task that is over.
func DoneTask(id string) Key { return Key{DoneTasks, id} }

// LastTask names the note of when a slot's task was last started.
func LastTask(slot string) Key { return Key{"k/last", slot} }

// TaskShards is the partition of a task's shards.
func TaskShards(id string) string { return "k/" + id }

// TaskShard names shard number i of a task's plan.
func TaskShard(id string, plan uint64, i int) Key {
	return Key{TaskShards(id), fmt.Sprintf("%016x/%08d", plan, i)}
}

// PlanRange bounds the shards of one plan.
func PlanRange(plan uint64) (from, to string) {
	return fmt.Sprintf("%016x/", plan), fmt.Sprintf("%016x0", plan)
}
