package kv

import (
	"context"
	"errors"
	"fmt"
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
