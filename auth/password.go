package auth

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/argon2"
)

// Cost is what argon2id costs per password, RFC 9106.
type Cost struct {
	Memory  uint32 // KiB
	Time    uint32 // passes
	Threads uint8
}

// DefaultCost is the set of parameters with the least memory among those that
// OWASP's password storage cheat sheet calls equal; two checks at once stay
// within 14 MiB.
var DefaultCost = Cost{Memory: 7 << 10, Time: 5, Threads: 1}

const (
	minPassword = 6    // bytes, for those set through the API
	maxPassword = 1024 // bytes

	saltSize = 16 // bytes
	hashSize = 32 // bytes

	// What a stored hash may ask for, so that a foreign record can't stop a node.
	maxMemory  = 128 << 10 // KiB
	maxTime    = 64
	maxThreads = 16
	maxSalt    = 64 // bytes
	maxHash    = 64 // bytes
)

// hash is a password as stored.
type hash struct {
	cost      Cost
	salt, sum []byte
}

var errHash = errors.New("not an argon2id hash in PHC format")

// String returns the hash in PHC format:
// $argon2id$v=19$m=7168,t=5,p=1$<salt>$<hash>, base64 without padding.
func (h hash) String() string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version,
		h.cost.Memory, h.cost.Time, h.cost.Threads, b64(h.salt), b64(h.sum))
}

// parseHash reads a hash in PHC format. The error holds nothing of it.
func parseHash(s string) (hash, error) {
	part := strings.Split(s, "$")
	if len(part) != 6 || part[0] != "" || part[1] != "argon2id" || part[2] != "v="+strconv.Itoa(argon2.Version) {
		return hash{}, errHash
	}
	m, t, p := uint64(0), uint64(0), uint64(0)
	for i, field := range strings.Split(part[3], ",") {
		if i > 2 {
			return hash{}, errHash
		}
		name, value, _ := strings.Cut(field, "=")
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil || name != "mtp"[i:i+1] {
			return hash{}, errHash
		}
		*[]*uint64{&m, &t, &p}[i] = n
	}
	if m < 8 || m > maxMemory || t < 1 || t > maxTime || p < 1 || p > maxThreads {
		return hash{}, errHash
	}
	salt, err1 := base64.RawStdEncoding.Strict().DecodeString(part[4])
	sum, err2 := base64.RawStdEncoding.Strict().DecodeString(part[5])
	if err1 != nil || err2 != nil || len(salt) < 8 || len(salt) > maxSalt || len(sum) < 16 || len(sum) > maxHash {
		return hash{}, errHash
	}
	return hash{Cost{uint32(m), uint32(t), uint8(p)}, salt, sum}, nil
}

// above tells whether c makes guessing dearer than other does.
func (c Cost) above(other Cost) bool {
	return uint64(c.Memory)*uint64(c.Time) > uint64(other.Memory)*uint64(other.Time)
}

// maxWaiting bounds the passwords that wait for their turn; each costs some
// 10 ms, so the last one waits for about a second.
const maxWaiting = 128

// hasher makes and checks hashes, few at a time, so that memory stays bounded
// however many requests bring passwords.
type hasher struct {
	cost    Cost
	random  io.Reader
	turn    chan struct{} // holds one element per running hash
	waiting atomic.Int32
	// decoy is checked where there is no user, so that it takes as long.
	decoy hash
}

func newHasher(cost Cost, parallel int, random io.Reader) (*hasher, error) {
	h := &hasher{cost: cost, random: random, turn: make(chan struct{}, parallel)}
	h.decoy = hash{cost, make([]byte, saltSize), make([]byte, hashSize)}
	for _, b := range [][]byte{h.decoy.salt, h.decoy.sum} {
		if _, err := io.ReadFull(random, b); err != nil {
			return nil, fmt.Errorf("read randomness: %w", err)
		}
	}
	return h, nil
}

// derive runs argon2id when it is its turn.
func (h *hasher) derive(ctx context.Context, password string, c Cost, salt []byte, size int) ([]byte, error) {
	select {
	case h.turn <- struct{}{}:
	default:
		if h.waiting.Add(1) > maxWaiting {
			h.waiting.Add(-1)
			return nil, ErrBusy
		}
		defer h.waiting.Add(-1)
		select {
		case h.turn <- struct{}{}:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	defer func() { <-h.turn }()
	return argon2.IDKey([]byte(password), salt, c.Time, c.Memory, c.Threads, uint32(size)), nil
}

// make hashes a new password.
func (h *hasher) make(ctx context.Context, password string) (hash, error) {
	salt := make([]byte, saltSize)
	if _, err := io.ReadFull(h.random, salt); err != nil {
		return hash{}, fmt.Errorf("read randomness: %w", err)
	}
	sum, err := h.derive(ctx, password, h.cost, salt, hashSize)
	return hash{h.cost, salt, sum}, err
}

// check tells whether the password is the one of the stored hash. stored "" is
// a user that does not exist or has no password: false, after as much work.
func (h *hasher) check(ctx context.Context, stored, password string) (bool, error) {
	if password == "" || len(password) > maxPassword {
		return false, nil // no user has one, so this tells nothing about users
	}
	want, known := h.decoy, false
	if stored != "" {
		var err error
		if want, err = parseHash(stored); err != nil {
			return false, err
		}
		known = true
	}
	got, err := h.derive(ctx, password, want.cost, want.salt, len(want.sum))
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(got, want.sum) == 1 && known, nil
}

// outdated tells whether the stored hash should be made again: it was cheaper
// than those made now.
func (h *hasher) outdated(stored string) bool {
	old, err := parseHash(stored)
	return err == nil && h.cost.above(old.cost)
}

// checkPassword holds the rule for passwords set through the API.
func checkPassword(field, password string) error {
	if n := len(password); n < minPassword || n > maxPassword {
		return invalid(field, "must have %d to %d bytes", minPassword, maxPassword)
	}
	if isAPIToken(Secret(password)) {
		return invalid(field, "must not look like an API token")
	}
	return nil
}
