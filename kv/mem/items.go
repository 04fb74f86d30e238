package mem

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"granary/kv"
)

// pageItems is small, so that writers come between the pages of a query.
const pageItems = 100

// page returns copies of the first live items of a range, in the order asked for.
func (s *Store) page(name, from, to string, read kv.Read) []kv.Item {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p := s.partitions[name]
	if p == nil || to != "" && from >= to {
		return nil
	}
	lo, _ := p.find(from)
	hi := len(p.items)
	if to != "" {
		hi, _ = p.find(to)
	}
	now := s.options.Now()
	var page []kv.Item
	for n := 0; n < hi-lo && len(page) < pageItems; n++ {
		i := lo + n
		if read.Reverse {
			i = hi - 1 - n
		}
		if p.items[i].Expired(now) {
			continue
		}
		item := *p.items[i]
		if read.KeysOnly {
			item.Value = nil
		}
		page = append(page, clone(item))
	}
	return page
}

func (p *partition) find(sort string) (int, bool) {
	return slices.BinarySearchFunc(p.items, sort, func(i *kv.Item, sort string) int { return strings.Compare(i.Sort, sort) })
}

// live returns the item at key unless it is missing or expired; mu is held.
func (s *Store) live(key kv.Key) *kv.Item {
	p := s.partitions[key.Partition]
	if p == nil {
		return nil
	}
	i, ok := p.find(key.Sort)
	if !ok || p.items[i].Expired(s.options.Now()) {
		return nil
	}
	return p.items[i]
}

// set stores item as it is; mu is held.
func (s *Store) set(item kv.Item) *partition {
	p := s.partitions[item.Partition]
	if p == nil {
		p = &partition{}
		s.partitions[item.Partition] = p
	}
	if i, ok := p.find(item.Sort); ok {
		p.items[i] = &item
	} else {
		p.items = slices.Insert(p.items, i, &item)
	}
	return p
}

// remove drops the item at key; mu is held.
func (s *Store) remove(key kv.Key) {
	p := s.partitions[key.Partition]
	if p == nil {
		return
	}
	if i, ok := p.find(key.Sort); ok {
		p.items = slices.Delete(p.items, i, i+1)
	}
}

// write is all that a version stands for.
type write struct {
	key     kv.Key
	value   string
	expires int64
	old     kv.Version
}

// use notes that item.Version stands for this very write; mu is held.
func (s *Store) use(item kv.Item, old kv.Version) error {
	sum := maphash.Comparable(s.seed, write{item.Key, string(item.Value), item.Expires.Unix(), old})
	if before, ok := s.versions[item.Version]; ok && before != sum {
		return s.misuse("version %s used for another write at %v", item.Version, item.Key)
	}
	s.versions[item.Version] = sum
	return nil
}

func (s *Store) misuse(format string, args ...any) error {
	err := fmt.Errorf("%w: "+format, append([]any{ErrMisuse}, args...)...)
	if s.options.Misuse != nil {
		s.options.Misuse(err)
	}
	return err
}

func conflict(found *kv.Item) error {
	item := clone(*found)
	return &kv.ConflictError{Key: item.Key, Current: &item}
}

func clone(item kv.Item) kv.Item {
	item.Value = slices.Clone(item.Value)
	return item
}

// prepared is item as it will be stored.
func prepared(item kv.Item) kv.Item {
	item = clone(item)
	if item.Version == "" {
		item.Version = kv.NewVersion()
	}
	item.Expires = kv.WholeSeconds(item.Expires)
	return item
}
