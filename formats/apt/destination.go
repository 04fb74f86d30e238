package apt

import (
	"slices"
	"strings"

	"granary/formats"
)

// What an upload that does not say gets.
const (
	defaultDistribution = "stable"
	defaultComponent    = "main"
)

// Limits of what an upload says.
const (
	maxCoordinate = 200 // bytes of a name
	maxTargets    = 20  // distributions
)

// destination is where an upload is to be listed.
type destination struct {
	distributions []string
	components    []string // one, once checked
	archs         []string // what properties said; the package's has to be one of them
}

// set takes one field or property; it tells whether it is known.
func (d *destination) set(name, value string) bool {
	var list *[]string
	switch strings.TrimPrefix(name, "deb.") {
	case "distribution", "apt.asset.distribution":
		list = &d.distributions
	case "component", "apt.asset.component":
		list = &d.components
	case "architecture":
		list = &d.archs
	default:
		return false
	}
	for v := range strings.SplitSeq(value, ",") {
		if v != "" && !slices.Contains(*list, v) {
			*list = append(*list, v)
		}
	}
	return true
}

// properties reads "name=value;name=value".
func (d *destination) properties(s string) {
	for p := range strings.SplitSeq(s, ";") {
		if name, value, ok := strings.Cut(p, "="); ok {
			d.set(name, value)
		}
	}
}

func (d *destination) check() error {
	if len(d.distributions) == 0 {
		d.distributions = []string{defaultDistribution}
	}
	if len(d.distributions) > maxTargets {
		return formats.BadRequest("an upload to more than %d distributions", maxTargets)
	}
	if len(d.components) == 0 {
		d.components = []string{defaultComponent}
	}
	if len(d.components) > 1 {
		return formats.BadRequest("an upload to the components %.200q; a package lies in one", d.components)
	}
	for _, s := range d.distributions {
		if err := checkDistribution(s); err != nil {
			return err
		}
	}
	return checkComponent(d.component())
}

func (d destination) component() string { return d.components[0] }
