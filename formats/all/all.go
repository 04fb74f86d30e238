// Package all lists the formats that granary has. It is the one file to change
// when a format is added.
package all

import (
	"time"

	"granary/formats"
	"granary/formats/apt"
	"granary/formats/cargo"
	"granary/formats/docker"
	"granary/formats/golang"
	"granary/formats/helm"
	"granary/formats/npm"
	"granary/formats/pypi"
	"granary/formats/raw"
	"granary/formats/yum"
)

// Formats returns all formats in order of their names, none twice. now is the
// time of what formats date themselves; nil is the wall clock.
func Formats(now func() time.Time) []formats.Format {
	if now == nil {
		now = time.Now
	}
	return []formats.Format{
		apt.New(now),
		cargo.New(now),
		docker.New(),
		golang.New(now),
		helm.New(),
		npm.New(),
		pypi.New(),
		raw.New(),
		yum.New(now),
	}
}
