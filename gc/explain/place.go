package explain

import (
	"encoding/base64"
	"encoding/json"
)

// The stages of a search.
const (
	stageReferences = iota // a blob id's: which content is it
	stageNames
	stageEnd
)

// place is how far a search is: everything before it has been looked at.
type place struct {
	stage int
	hash  string // of the content, once it is known
	repo  string // id
	step  int    // of a shard, see steps
	shard int    // or the number of a prefix
	sort  string // the last key that was read
}

// stored is a place in a cursor.
type stored struct {
	Stage int    `json:"g"`
	Hash  string `json:"h,omitempty"`
	Repo  string `json:"r,omitempty"`
	Step  int    `json:"t,omitempty"`
	Shard int    `json:"n,omitempty"`
	Sort  string `json:"s,omitempty"`
}

func (p place) String() string {
	b, err := json.Marshal(stored{p.stage, p.hash, p.repo, p.step, p.shard, p.sort})
	if err != nil {
		return "" // of strings and numbers there is always a form
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func parsePlace(s string) (place, bool) {
	var v stored
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || json.Unmarshal(b, &v) != nil {
		return place{}, false
	}
	p := place{v.Stage, v.Hash, v.Repo, v.Step, v.Shard, v.Sort}
	return p, p.stage >= stageReferences && p.stage <= stageEnd && p.step >= 0 && p.step < len(steps) && p.shard >= 0
}

// from is the key to go on with in a partition.
func (p place) from() string {
	if p.sort == "" {
		return ""
	}
	return p.sort + "\x00"
}
