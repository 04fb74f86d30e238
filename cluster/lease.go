package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"granary/kv"
)

var (
	// ErrHeld is what every [HeldError] is.
	ErrHeld = errors.New("cluster: lease is held")
	// ErrLost is returned for a lease that this node no longer holds.
	ErrLost = errors.New("cluster: lease is lost")
)

// HeldError says who holds a lease.
type HeldError struct {
	Name   string
	Holder string // node id
	Epoch  uint64
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("cluster: lease %s is held by node %s", e.Name, e.Holder)
}

// Is makes errors.Is(err, ErrHeld) true.
func (e *HeldError) Is(target error) bool { return target == ErrHeld }

// leaseRecord is a lease as stored. It outlives its holder, so that epochs grow.
type leaseRecord struct {
	kv.Extra `cbor:"-"`

	Holder string `cbor:"1,keyasint,omitempty"` // node id, "": released
	Epoch  uint64 `cbor:"2,keyasint"`           // max(the one before + 1, Unix milliseconds)
	TTL    int64  `cbor:"3,keyasint,omitempty"` // milliseconds of silence that the holder asks for
}

// keepLease is how long a lease that nobody renews stays stored: far longer
// than clocks can differ, since after that only they make its epoch grow.
const keepLease = 24 * time.Hour

// watch is a lease of another node that somebody here waits for.
type watch struct {
	version kv.Version
	since   time.Duration // monotonic time when it was first seen
	looked  time.Duration // and last
}

// forgetWatch is for how long after the last look a watched lease is remembered.
const forgetWatch = 10 * time.Minute

// Lease is a name that this node holds. It is used concurrently.
type Lease struct {
	node *Node
	name string
	ttl  time.Duration

	writing chan struct{} // held while the store is written
	own     cell          // guarded by writing
	record  leaseRecord
	renewed moment // guarded by node.mu: begin of the last acknowledged write

	once sync.Once
	lost chan struct{} // closed when the lease is over
}

// Acquire takes a lease that is free, or whose holder has been seen silent for
// ttl, or longer if the holder asked for that. Else it returns a [HeldError] at
// once; who waits calls again, and that is how silence is seen. The lease is
// lost unless renewed within ttl.
func (n *Node) Acquire(ctx context.Context, name string, ttl time.Duration) (*Lease, error) {
	l := &Lease{
		node: n, name: name, ttl: ttl, lost: make(chan struct{}), writing: make(chan struct{}, 1),
		own: cell{store: n.c.KV, key: kv.Lease(name)},
	}
	holder, err := n.reserve(l)
	if err != nil {
		return nil, err
	}
	if err := l.take(ctx, holder); err != nil {
		n.drop(l)
		return nil, err
	}
	select {
	case <-l.lost: // the node got a new id or was closed meanwhile
		return nil, fmt.Errorf("acquire lease %s: %w", name, ErrLost)
	default:
		return l, nil
	}
}

// reserve keeps others in this process from acquiring the same lease, and
// returns the id to acquire it under.
func (n *Node) reserve(l *Lease) (holder string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.status.ended {
		return "", fmt.Errorf("acquire lease %s: %w: it is closed", l.name, ErrNotReady)
	}
	if other := n.leases[l.name]; other != nil {
		return "", &HeldError{Name: l.name, Holder: n.status.id, Epoch: other.record.Epoch}
	}
	n.leases[l.name] = l
	return n.status.id, nil
}

// drop forgets a lease that is not held any more.
func (n *Node) drop(l *Lease) {
	n.mu.Lock()
	if n.leases[l.name] == l {
		delete(n.leases, l.name)
	}
	n.mu.Unlock()
	l.lose()
}

// held returns the leases that are held; mu is held too.
func (n *Node) held() []*Lease {
	all := make([]*Lease, 0, len(n.leases))
	for _, l := range n.leases {
		all = append(all, l)
	}
	return all
}

// take writes the lease's record over the one that is there, if that may be.
func (l *Lease) take(ctx context.Context, holder string) error {
	l.writing <- struct{}{}
	defer func() { <-l.writing }()
	n := l.node
	looked := n.clock.mono()
	item, err := n.c.KV.Get(ctx, l.own.key, kv.Consistent)
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return fmt.Errorf("acquire lease %s: %w", l.name, err)
	}
	var old leaseRecord
	if err == nil {
		if err := kv.Unmarshal(item.Value, &old); err != nil {
			return fmt.Errorf("acquire lease %s: %w", l.name, err)
		}
		// Nobody else has our id, and in an embedded store nobody else lives.
		free := old.Holder == "" || old.Holder == holder || n.c.Embedded
		if !free && !n.silent(item, looked, max(l.ttl, time.Duration(old.TTL)*time.Millisecond)) {
			return &HeldError{Name: l.name, Holder: old.Holder, Epoch: old.Epoch}
		}
	}
	l.own.version = item.Version
	rec := old
	rec.Holder, rec.TTL = holder, l.ttl.Milliseconds()
	rec.Epoch = max(old.Epoch+1, uint64(max(0, n.c.Now().UnixMilli())))
	if err := l.write(ctx, rec); err != nil {
		return l.beaten(ctx, err)
	}
	return nil
}

// beaten tells who was faster.
func (l *Lease) beaten(ctx context.Context, err error) error {
	if !errors.Is(err, errLost) {
		return fmt.Errorf("acquire lease %s: %w", l.name, err)
	}
	held := &HeldError{Name: l.name}
	item, err := kv.Current(ctx, l.node.c.KV, l.own.key, err)
	if err == nil {
		var rec leaseRecord
		err = kv.Unmarshal(item.Value, &rec)
		held.Holder, held.Epoch = rec.Holder, rec.Epoch
	}
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return fmt.Errorf("acquire lease %s: %w", l.name, err)
	}
	return held
}

// write stores the record and, on success, makes it the lease's; writing is held.
func (l *Lease) write(ctx context.Context, rec leaseRecord) error {
	n := l.node
	began := n.clock.at()
	if err := l.own.write(ctx, &rec, n.c.Now().Add(keepLease+l.ttl)); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	l.record, l.renewed = rec, began
	delete(n.watched, l.name)
	return nil
}

// silent reports whether a lease's record, read by a consistent read that began
// at looked, has not changed since this process first saw it, ttl or more ago.
func (n *Node) silent(item kv.Item, looked, ttl time.Duration) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	w, ok := n.watched[item.Sort]
	if !ok || w.version != item.Version {
		w = watch{version: item.Version, since: n.clock.mono()}
	}
	w.looked = looked
	n.watched[item.Sort] = w
	return looked-w.since >= ttl
}

// forgetWatched forgets the leases that nobody waits for any more.
func (n *Node) forgetWatched() {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.clock.mono()
	for name, w := range n.watched {
		if now-w.looked > forgetWatch {
			delete(n.watched, name)
		}
	}
}

// Name returns the lease's name.
func (l *Lease) Name() string { return l.name }

// Epoch returns a number that is greater than that of every earlier holder.
// It is to travel in what the work under the lease writes.
func (l *Lease) Epoch() uint64 {
	l.node.mu.Lock()
	defer l.node.mu.Unlock()
	return l.record.Epoch
}

// Lost is closed when the lease is known to be over: lost or released.
func (l *Lease) Lost() <-chan struct{} { return l.lost }

func (l *Lease) lose() { l.once.Do(func() { close(l.lost) }) }

// Err returns ErrLost when the lease is over, or was not renewed in time so
// that others may have taken it.
func (l *Lease) Err() error {
	select {
	case <-l.lost:
		return fmt.Errorf("lease %s: %w", l.name, ErrLost)
	default:
	}
	l.node.mu.Lock()
	renewed := l.renewed
	l.node.mu.Unlock()
	if l.node.clock.since(renewed) >= l.ttl {
		return fmt.Errorf("lease %s: %w: it was not renewed in time", l.name, ErrLost)
	}
	return nil
}

// Renew keeps the lease for another ttl. ErrLost if somebody else has it, or
// had it.
func (l *Lease) Renew(ctx context.Context) error {
	l.writing <- struct{}{}
	defer func() { <-l.writing }()
	select {
	case <-l.lost:
		return fmt.Errorf("renew lease %s: %w", l.name, ErrLost)
	default:
	}
	err := l.write(ctx, l.record)
	if errors.Is(err, errLost) {
		l.node.drop(l)
		return fmt.Errorf("renew lease %s: %w: %w", l.name, ErrLost, err)
	}
	if err != nil {
		return fmt.Errorf("renew lease %s: %w", l.name, err)
	}
	return nil
}

// Release frees the lease for whoever comes next. One that is lost already
// needs no release.
func (l *Lease) Release(ctx context.Context) error {
	l.writing <- struct{}{}
	defer func() { <-l.writing }()
	select {
	case <-l.lost:
		return nil
	default:
	}
	defer l.node.drop(l)
	rec := l.record
	rec.Holder, rec.TTL = "", 0
	if err := l.write(ctx, rec); err != nil && !errors.Is(err, errLost) {
		return fmt.Errorf("release lease %s: %w", l.name, err)
	}
	return nil
}
