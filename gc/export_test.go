package gc

import (
	"context"
	"time"
)

// Plant is a fault that a test plants.
type Plant = plant

// The plants.
const (
	PlantNone         = plantNone
	PlantGrace        = plantGrace
	PlantState        = plantState
	PlantCursor       = plantCursor
	PlantHistoryFirst = plantHistoryFirst
	PlantNoFilter     = plantNoFilter
	PlantStaleMark    = plantStaleMark
	PlantBucket       = plantBucket
	PlantLate         = plantLate
)

// SetPlant plants a fault.
func (c *Collector) SetPlant(p Plant) { c.plant = p }

// Kept is a publication's age for Superfluous.
type Kept = kept

var (
	Superfluous = superfluous
	FolderOf    = folderOf
)

// KeptAt is a publication made at a time.
func KeptAt(made time.Time) Kept { return kept{made: made} }

// Last returns the last round, nil if there was none.
func (c *Collector) Last(ctx context.Context) (*Round, error) {
	r, _, err := c.current(ctx, false)
	return r, err
}
