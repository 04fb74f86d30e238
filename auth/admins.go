package auth

import (
	"context"
	"slices"

	"granary/kv"
)

// That one administrator remains is a rule over several records, which no
// store checks for us. So an administrator leaves in two steps: the record is
// marked, and only if another one is then seen without a mark, the marked
// version is swapped for one without the role, or deleted. Of several leaving
// at once, the one who marked last sees the others marked or gone. Who needs
// another one to stay takes the mark off it, by which that one's second step
// fails and begins anew. A mark left by a crash means nothing else.

var errLastAdmin = invalid("roles", "the last administrator can't be demoted or deleted")

// demote applies a change that takes the role admin away, if there was one.
func (s *Service) demote(ctx context.Context, name string, change func(*userRecord) error) (userRecord, error) {
	var done userRecord
	err := s.leave(ctx, name, func(rec *userRecord, version kv.Version) error {
		if err := change(rec); err != nil {
			return err
		}
		done = *rec
		_, err := s.users().Replace(ctx, userKey(name), done, version)
		return err
	})
	return done, err
}

func (s *Service) removeUser(ctx context.Context, name string) error {
	return s.leave(ctx, name, func(_ *userRecord, version kv.Version) error {
		return s.users().Delete(ctx, userKey(name), version)
	})
}

// leave calls step, a write conditional on the version, once that leaves an
// administrator. A conflict begins anew.
func (s *Service) leave(ctx context.Context, name string, step func(*userRecord, kv.Version) error) error {
	return again(ctx, func() error { return s.tryLeave(ctx, name, step) })
}

func (s *Service) tryLeave(ctx context.Context, name string, step func(*userRecord, kv.Version) error) error {
	rec, version, err := read(ctx, s.users(), userKey(name))
	if err != nil {
		return err
	}
	if !counts(&rec) {
		return step(&rec, version)
	}
	rec.Leaving = true
	if version, err = s.users().Replace(ctx, userKey(name), rec, version); err != nil {
		return err
	}
	stays, err := s.anotherStays(ctx, name)
	if err != nil {
		return err
	}
	if stays {
		return step(&rec, version)
	}
	rec.Leaving = false
	if _, err := s.users().Replace(ctx, userKey(name), rec, version); err != nil {
		return err
	}
	return errLastAdmin
}

// counts tells whether the user is an administrator who can log in whatever
// happens to directories, providers and tokens.
func counts(rec *userRecord) bool {
	return slices.Contains(rec.Roles, AdminRole) && hasPassword(rec)
}

// anotherStays looks for an administrator other than name who is not leaving,
// or makes one stay.
func (s *Service) anotherStays(ctx context.Context, name string) (bool, error) {
	var leaving kv.Row[userRecord]
	for row, err := range s.users().Query(ctx, kv.ConfigPartition(kindUser), "", "", kv.Consistent) {
		switch {
		case err != nil:
			return false, err
		case row.Sort == name || !counts(&row.Value):
		case !row.Value.Leaving:
			return true, nil
		default:
			leaving = row
		}
	}
	if leaving.Version == "" {
		return false, nil
	}
	leaving.Value.Leaving = false
	_, err := s.users().Replace(ctx, leaving.Key, leaving.Value, leaving.Version)
	return err == nil, err
}
