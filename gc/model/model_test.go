package model_test

import (
	"testing"
	"time"

	"granary/gc/model"
)

// Searches that together cover what the model has, each within seconds.
var searches = map[string]model.Limits{
	"three uploads":             {Uploads: 3, Rounds: 3, OneScope: true},
	"two uploads":               {Uploads: 2, Rounds: 4, Sleeper: true},
	"two uploads and a delete":  {Uploads: 2, Deletes: 1, Rounds: 3},
	"an upload and two deletes": {Uploads: 1, Deletes: 2, Rounds: 4, Sleeper: true},
	"a move":                    {Uploads: 1, Deletes: 1, Moves: 1, Rounds: 4},
	"two moves":                 {Uploads: 1, Moves: 2, Rounds: 4},
}

func TestRulesHold(t *testing.T) {
	for name, l := range searches {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && l.Uploads > 1 {
				t.Skip("takes seconds")
			}
			l.States = 4_000_000
			start := time.Now()
			n, err := model.Search(l, model.None)
			t.Logf("%d states in %v", n, time.Since(start))
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// Each rule is needed: without it a search finds a way into a wrong state.
func TestFaultsAreFound(t *testing.T) {
	for _, try := range []struct {
		name  string
		fault model.Fault
		in    string
	}{
		{"grace from the condemning", model.EarlyGrace, "an upload and two deletes"},
		{"deletion by state", model.ByState, "an upload and two deletes"},
		{"a move that is no use", model.IdleMove, "two moves"},
		{"history before records", model.HistoryFirst, "an upload and two deletes"},
		{"versions that restart", model.Restart, "two uploads"},
		{"no second look", model.NoConfirm, "an upload and two deletes"},
		{"no second look at what was there", model.HastySame, "two uploads"},
	} {
		t.Run(try.name, func(t *testing.T) {
			l := searches[try.in]
			n, err := model.Search(l, try.fault)
			if err == nil {
				t.Fatalf("%d states and nothing wrong", n)
			}
			t.Logf("%d states: %v", n, err)
		})
	}
}
