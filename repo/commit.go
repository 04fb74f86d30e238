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

// forget takes a record out that is about to be stored again.
func (c *Commit) forget(key string) {
	c.Put = slices.DeleteFunc(c.Put, func(r formats.Record) bool { return r.Key() == key })
}

// tell is called once per commit, whatever wrote it.
func (s *Service) tell(c Commit) {
	if s.Committed != nil && len(c.Put)+len(c.Deleted) > 0 {
		s.Committed(c)
	}
}
