package kv

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// CheckKey returns ErrInvalid or ErrTooLarge for a key that no backend takes.
func CheckKey(k Key) error {
	switch {
	case k.Partition == "" || k.Sort == "":
		return fmt.Errorf("%w: empty part in %q %q", ErrInvalid, k.Partition, k.Sort)
	case len(k.Partition) > MaxPartition || len(k.Sort) > MaxSort:
		return fmt.Errorf("%w: key of %d and %d bytes", ErrTooLarge, len(k.Partition), len(k.Sort))
	case !utf8.ValidString(k.Partition) || !utf8.ValidString(k.Sort):
		return fmt.Errorf("%w: not UTF-8: %q %q", ErrInvalid, k.Partition, k.Sort)
	}
	return nil
}

// CheckWrite is [Check] for a conditional write, which needs a version of its own.
func CheckWrite(item Item) error {
	if item.Version == "" {
		return fmt.Errorf("%w: conditional write without a version at %v", ErrInvalid, item.Key)
	}
	return Check(item)
}

// CheckQuery returns ErrInvalid or ErrTooLarge for a query that no backend
// takes. Bounds may be empty and need not be keys, but are valid UTF-8 of at
// most MaxSort bytes.
func CheckQuery(partition, from, to string) error {
	switch {
	case partition == "":
		return fmt.Errorf("%w: query without a partition", ErrInvalid)
	case len(partition) > MaxPartition || len(from) > MaxSort || len(to) > MaxSort:
		return fmt.Errorf("%w: query of %d, %d and %d bytes", ErrTooLarge, len(partition), len(from), len(to))
	case !utf8.ValidString(partition) || !utf8.ValidString(from) || !utf8.ValidString(to):
		return fmt.Errorf("%w: not UTF-8: query %q from %q to %q", ErrInvalid, partition, from, to)
	}
	return nil
}

// Expired reports whether the item is absent at now. Stores keep whole
// seconds, so the fraction of Expires doesn't count.
func (i Item) Expired(now time.Time) bool {
	return !i.Expires.IsZero() && now.Unix() >= i.Expires.Unix()
}

// WholeSeconds is the grain in which stores keep [Item.Expires].
func WholeSeconds(expires time.Time) time.Time {
	if expires.IsZero() {
		return expires
	}
	return time.Unix(expires.Unix(), 0)
}

// Current returns the item that a failed conditional write met: from the error
// where the backend could tell, else by one consistent read. ErrNotFound means
// that there is none. err must be an ErrConflict.
func Current(ctx context.Context, s Store, key Key, err error) (Item, error) {
	var c *ConflictError
	if errors.As(err, &c) {
		if c.Current != nil {
			return *c.Current, nil
		}
		if c.Absent {
			return Item{}, ErrNotFound
		}
	}
	return s.Get(ctx, key, Consistent)
}
