package cargo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"granary/formats"
)

// whole is what belongs to a crate as a whole, the Meta of its pointer in
// "names/".
type whole struct {
	Name   string   `json:"name"` // as it was published first
	Owners []string `json:"owners,omitempty"`
}

// Limits of an owners request.
const (
	maxOwnersBody = 64 << 10 // bytes
	maxOwners     = 1000
)

func (c whole) pointer() (formats.Record, error) {
	meta, err := json.Marshal(c)
	if err != nil {
		return formats.Record{}, fmt.Errorf("write what is known of crate %s: %w", c.Name, err)
	}
	return formats.Record{Scope: ownersScope(c.Name), Name: nameRecord, Move: true, Meta: meta}, nil
}

func readWhole(rec formats.Record) (whole, error) {
	var c whole
	if err := json.Unmarshal(rec.Meta, &c); err != nil {
		return c, fmt.Errorf("%w: pointer %s: %w", formats.ErrCorrupt, rec.Key(), err)
	}
	return c, nil
}

// claim makes the name's spelling that of its first version: "Foo-bar" and
// "foo_bar" are one name.
func claim(ctx context.Context, name string, tx formats.Tx) error {
	c := whole{Name: name}
	old, err := tx.Record(ctx, ownersScope(name), nameRecord)
	if err == nil {
		return c.follows(&old)
	}
	if !errors.Is(err, formats.ErrNotFound) {
		return err
	}
	rec, err := c.pointer()
	if err == nil {
		tx.PutIf(rec, nil, c.follows)
	}
	return err
}

// follows refuses a name that is claimed in another spelling.
func (c whole) follows(old *formats.Record) error {
	if old == nil {
		return nil
	}
	was, err := readWhole(*old)
	if err == nil && was.Name != c.Name {
		err = fmt.Errorf("crate %s is published here as %s: %w", c.Name, was.Name, formats.ErrExists)
	}
	return err
}

// changeOwners adds or removes names. What owners may do is decided by roles:
// the list is for people.
func changeOwners(ctx context.Context, op formats.Op, up *formats.Upload, tx formats.Tx) error {
	body, err := io.ReadAll(formats.Limit(up.Body, maxOwnersBody, "list of owners"))
	if err != nil {
		return fmt.Errorf("read the owners: %w", err)
	}
	var said struct {
		Users  []string `json:"users"`
		Owners []string `json:"owners"` // older clients
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return formats.BadRequest("owners: %v", err)
	}
	users := append(said.Users, said.Owners...)
	if len(users) == 0 || slices.ContainsFunc(users, func(u string) bool { return !word(u) || len(u) > 255 }) {
		return formats.BadRequest(`owners: {"users": ["name"]} is expected`)
	}
	rec, err := tx.Record(ctx, op.Scope, op.Name)
	if err != nil {
		return err
	}
	c, err := readWhole(rec)
	if err != nil {
		return err
	}
	c.Owners = slices.DeleteFunc(c.Owners, func(o string) bool { return slices.Contains(users, o) })
	if op.Label == labelAdd {
		c.Owners = append(c.Owners, users...)
	}
	slices.Sort(c.Owners)
	if c.Owners = slices.Compact(c.Owners); len(c.Owners) > maxOwners {
		return formats.BadRequest("owners: at most %d are possible", maxOwners)
	}
	next, err := c.pointer()
	if err == nil {
		tx.PutIf(next, nil, unchanged(rec.Meta))
	}
	return err
}
