package repo

import (
	"slices"

	"granary/formats"
	"granary/repo/config"
)

// Commit is what one request has written into one repository. It is told when
// all of it is in force; a crash before that is a write that nobody was told
// of.
type Commit struct {
	Repository *config.Repository
	// Put are the records as they were stored, without those that were there
	// already.
	Put []formats.Record
	// Deleted are the full names of records that were there.
	Deleted []string
}

// put adds a record in the place of the same one as it was stored before.
func (c *Commit) put(rec formats.Record) {
	i := slices.IndexFunc(c.Put, func(r formats.Record) bool { return r.Scope == rec.Scope && r.Name == rec.Name })
	if i >= 0 {
		c.Put[i] = rec
		return
	}
	c.Put = append(c.Put, rec)
}

// tell is called once per commit, whatever wrote it.
func (s *Service) tell(c Commit) {
	if s.Committed != nil && len(c.Put)+len(c.Deleted) > 0 {
		s.Committed(c)
	}
}
