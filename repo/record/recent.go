package record

// recent is a map of bounded size that forgets what was used longest ago. Its
// owner guards it. It is our own because eviction must be exact and repeatable:
// a cache that may refuse a new entry would make every listing count again.
type recent[K comparable, V any] struct {
	max     int
	entries map[K]*link[K, V]
	ends    link[K, V] // ring: next is the newest, prev the oldest
}

type link[K comparable, V any] struct {
	key        K
	value      V
	prev, next *link[K, V]
}

func newRecent[K comparable, V any](limit int) *recent[K, V] {
	r := &recent[K, V]{max: limit, entries: map[K]*link[K, V]{}}
	r.ends.prev, r.ends.next = &r.ends, &r.ends
	return r
}

func (r *recent[K, V]) get(key K) (V, bool) {
	l, ok := r.entries[key]
	if !ok {
		var none V
		return none, false
	}
	r.unlink(l)
	r.front(l)
	return l.value, true
}

func (r *recent[K, V]) set(key K, value V) {
	if l, ok := r.entries[key]; ok {
		l.value = value
		r.unlink(l)
		r.front(l)
		return
	}
	if len(r.entries) >= r.max {
		r.drop(r.ends.prev.key)
	}
	l := &link[K, V]{key: key, value: value}
	r.entries[key] = l
	r.front(l)
}

func (r *recent[K, V]) drop(key K) {
	if l, ok := r.entries[key]; ok {
		r.unlink(l)
		delete(r.entries, key)
	}
}

func (r *recent[K, V]) unlink(l *link[K, V]) { l.prev.next, l.next.prev = l.next, l.prev }

func (r *recent[K, V]) front(l *link[K, V]) {
	l.prev, l.next = &r.ends, r.ends.next
	l.prev.next, l.next.prev = l, l
}
