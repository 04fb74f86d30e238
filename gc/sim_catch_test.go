package gc_test

import (
	"os"
	"strconv"
	"testing"
)

// within is how many seeds are tried before one must have caught a plant. Plants
// that random seeds meet too seldom for that are only in [faults], each with the
// events in which it does harm. How many seeds it takes is measured by
// TestSeedsToCatch; docs/architecture/simulation.md has the table.
var within = map[string]uint64{
	"a stamp written blindly and delayed":     150,
	"a publication overwritten under its key": 150,
	"a bucket pass that trusts references":    150,
}

func TestSeedsCatchPlants(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	for name, most := range within {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := uint64(1); seed <= most; seed++ {
				if wrong, _ := simulate(t, seed, faults[name].plant); len(wrong) > 0 {
					t.Logf("seed %d: %.300s", seed, wrong[0])
					return
				}
			}
			t.Errorf("%d seeds have not caught it", most)
		})
	}
}

// TestSeedsToCatch counts, for each plant, the seeds of 1 to GRANARY_SIM_CATCH
// that catch it.
func TestSeedsToCatch(t *testing.T) {
	most, err := strconv.ParseUint(os.Getenv("GRANARY_SIM_CATCH"), 10, 64)
	if err != nil {
		t.Skip("GRANARY_SIM_CATCH says how many seeds are tried")
	}
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			caught, first, example, tried := 0, uint64(0), "", uint64(0)
			for seed := uint64(1); seed <= most && caught < 4; seed++ {
				wrong, _ := simulate(t, seed, f.plant)
				if tried = seed; len(wrong) == 0 {
					continue
				}
				if caught++; first == 0 {
					first, example = seed, wrong[0]
				}
			}
			t.Logf("CAUGHT | %s | %d of %d | first %d | %.200s", name, caught, tried, first, example)
		})
	}
}
