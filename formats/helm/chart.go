package helm

import (
	"context"
	"fmt"
	"path"
	"strings"

	"go.yaml.in/yaml/v3"

	"granary/formats"
	"granary/formats/archive"
)

// Limits of a packaged chart. Those of its size are Helm's own: it unpacks no
// more.
const (
	maxEntries   = 20_000
	maxUnpacked  = 100 << 20 // bytes
	maxChartYAML = 1 << 20   // bytes
)

// chart is a Chart.yaml, with the fields that an index has.
type chart struct {
	APIVersion   text            `yaml:"apiVersion"`
	AppVersion   text            `yaml:"appVersion,omitempty"`
	Annotations  map[string]text `yaml:"annotations,omitempty"`
	Condition    text            `yaml:"condition,omitempty"`
	Dependencies []dependency    `yaml:"dependencies,omitempty"`
	Deprecated   bool            `yaml:"deprecated,omitempty"`
	Description  text            `yaml:"description,omitempty"`
	Home         text            `yaml:"home,omitempty"`
	Icon         text            `yaml:"icon,omitempty"`
	Keywords     []text          `yaml:"keywords,omitempty"`
	KubeVersion  text            `yaml:"kubeVersion,omitempty"`
	Maintainers  []maintainer    `yaml:"maintainers,omitempty"`
	Name         text            `yaml:"name"`
	Sources      []text          `yaml:"sources,omitempty"`
	Tags         text            `yaml:"tags,omitempty"`
	Type         text            `yaml:"type,omitempty"`
	Version      text            `yaml:"version"`
}

type maintainer struct {
	Email text `yaml:"email,omitempty"`
	Name  text `yaml:"name,omitempty"`
	URL   text `yaml:"url,omitempty"`
}

type dependency struct {
	Alias        text   `yaml:"alias,omitempty"`
	Condition    text   `yaml:"condition,omitempty"`
	Enabled      bool   `yaml:"enabled,omitempty"`
	ImportValues []any  `yaml:"import-values,omitempty"`
	Name         text   `yaml:"name"`
	Repository   text   `yaml:"repository"`
	Tags         []text `yaml:"tags,omitempty"`
	Version      text   `yaml:"version,omitempty"`
}

// text is a string, also where somebody forgot the quotes: appVersion: 1.10.
type text string

// UnmarshalYAML takes any scalar as it is written.
func (t *text) UnmarshalYAML(n *yaml.Node) error {
	switch {
	case n.Kind != yaml.ScalarNode:
		return fmt.Errorf("line %d: a text is expected", n.Line)
	case n.Tag == "!!null":
		*t = ""
	default:
		*t = text(n.Value)
	}
	return nil
}

// bad returns an ErrBadPackage with a sentence for the client.
func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", formats.ErrBadPackage, fmt.Sprintf(format, args...))
}

// openChart walks a whole package and reads the Chart.yaml of the chart, not
// those of its dependencies.
func openChart(ctx context.Context, b formats.Blob) (*chart, error) {
	limits := archive.Limits{Entries: maxEntries, Bytes: maxUnpacked, Ratio: archive.Default.Ratio}
	var c *chart
	err := archive.TarGz(ctx, b, limits, func(e archive.Entry) error {
		if e.Kind == archive.Link {
			return bad("%s in the chart is a link", e.Name)
		}
		if dir, file := path.Split(e.Name); e.Kind != archive.File || file != "Chart.yaml" || strings.Count(dir, "/") != 1 {
			return nil
		}
		if c != nil {
			return bad("the package has two charts")
		}
		data, err := archive.ReadAll(e, maxChartYAML)
		if err == nil {
			c, err = parseChart(data)
		}
		return err
	})
	if err == nil && c == nil {
		err = bad("the package has no Chart.yaml in its first folder")
	}
	return c, err
}

func parseChart(data []byte) (*chart, error) {
	var c chart
	if err := formats.UnmarshalYAML(data, &c); err != nil {
		return nil, bad("Chart.yaml: %v", err)
	}
	switch {
	case c.APIVersion == "":
		return nil, bad("Chart.yaml has no apiVersion")
	case !validName(string(c.Name)):
		return nil, bad("Chart.yaml has the name %q", c.Name)
	case !validVersion(string(c.Version)):
		return nil, bad("Chart.yaml has the version %q, which is no semantic one", c.Version)
	}
	return &c, nil
}
