package cargo

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"granary/formats"
	"granary/formats/archive"
)

// Limits of a crate.
const (
	maxEntries  = 100_000
	maxUnpacked = 1 << 30 // bytes
	maxManifest = 1 << 20 // bytes of Cargo.toml
	// The time to decode keys and tables grows with their square. The largest
	// crates have some thousands of keys, and some hundred tables.
	maxKeys   = 25_000
	maxTables = 8_000
)

// manifest is a Cargo.toml as far as the index depends on it.
type manifest struct {
	Package struct {
		Name        string  `toml:"name"`
		Version     string  `toml:"version"`
		Links       *string `toml:"links"`
		RustVersion *string `toml:"rust-version"`
	} `toml:"package"`
	tables
	Target   map[string]tables   `toml:"target"`
	Features map[string][]string `toml:"features"`
}

// tables are the dependencies of one target, or of all.
type tables struct {
	Normal map[string]any `toml:"dependencies"`
	Build  map[string]any `toml:"build-dependencies"`
	Dev    map[string]any `toml:"dev-dependencies"`
	Build2 map[string]any `toml:"build_dependencies"` // as Cargo used to write it
	Dev2   map[string]any `toml:"dev_dependencies"`
}

// bad returns an ErrBadPackage with a sentence for the client.
func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", formats.ErrBadPackage, fmt.Sprintf(format, args...))
}

// openCrate walks a whole .crate, which has all its files below name-version/,
// and reads its Cargo.toml.
func openCrate(ctx context.Context, b formats.Blob, name, version string) (*manifest, error) {
	root := name + "-" + version
	limits := archive.Limits{Entries: maxEntries, Bytes: maxUnpacked, Ratio: archive.Default.Ratio}
	var m *manifest
	err := archive.TarGz(ctx, b, limits, func(e archive.Entry) error {
		switch {
		case e.Kind == archive.Link:
			return bad("%s in the crate is a link", e.Name)
		case e.Name != root && !strings.HasPrefix(e.Name, root+"/"):
			return bad("%s in the crate is not below %s/", e.Name, root)
		case e.Name != root+"/Cargo.toml" || e.Kind != archive.File:
			return nil
		case m != nil:
			return bad("the crate has two files Cargo.toml")
		}
		data, err := archive.ReadAll(e, maxManifest)
		if err == nil {
			m, err = parseManifest(data)
		}
		return err
	})
	if err == nil && m == nil {
		err = bad("the crate has no %s/Cargo.toml", root)
	}
	return m, err
}

func parseManifest(data []byte) (*manifest, error) {
	var m manifest
	if bytes.Count(data, []byte("=")) > maxKeys || countTables(data) > maxTables {
		return nil, bad("Cargo.toml has more than %d keys or %d tables", maxKeys, maxTables)
	}
	if err := toml.Unmarshal(data, &m); err != nil {
		return nil, bad("Cargo.toml: %v", err)
	}
	return &m, nil
}

// countTables counts the lines that may begin a table; values of many lines have
// such too.
func countTables(data []byte) int {
	n := 0
	for line := range bytes.Lines(data) {
		if bytes.HasPrefix(bytes.TrimLeft(line, " \t"), []byte("[")) {
			n++
		}
	}
	return n
}

// agrees holds what the publisher says against what the package says: all that
// the package has must be told, so that an index hides nothing of it. What the
// publisher tells beyond that is the publisher's to tell; to which registry a
// dependency belongs, for one, is not in the package.
func (m *manifest) agrees(said *metadata) error {
	switch {
	case m.Package.Name != said.Name:
		return bad("Cargo.toml is of the crate %q, the metadata of %q", m.Package.Name, said.Name)
	case m.Package.Version != said.Version:
		return bad("Cargo.toml has the version %q, the metadata %q", m.Package.Version, said.Version)
	case !same(m.Package.Links, said.Links):
		return bad("Cargo.toml and the metadata differ in links")
	case said.RustVersion != nil && !same(m.Package.RustVersion, said.RustVersion):
		return bad("Cargo.toml and the metadata differ in rust-version")
	}
	said.RustVersion = m.Package.RustVersion
	inside, err := m.dependencies()
	if err != nil {
		return err
	}
	told := map[string]bool{}
	for _, d := range said.Deps {
		told[d.key()] = true
	}
	for _, key := range inside {
		if !told[key] {
			return bad("Cargo.toml has the dependency %q, the metadata has not", key)
		}
	}
	for name, values := range m.Features {
		other, ok := said.Features[name]
		if !ok || !slices.Equal(slices.Sorted(slices.Values(values)), slices.Sorted(slices.Values(other))) {
			return bad("Cargo.toml and the metadata differ in the feature %q", name)
		}
	}
	return nil
}

func same(a, b *string) bool {
	if a == nil || b == nil {
		return (a == nil || *a == "") && (b == nil || *b == "")
	}
	return *a == *b
}

// key is a dependency as the two sources agree on it: where it is listed, the
// name there, the crate, whether it is optional.
func (d declared) key() string {
	target, name := "", d.Name
	if d.Target != nil {
		target = *d.Target
	}
	if d.Explicit != nil {
		name = *d.Explicit
	}
	return depKey(d.Kind, target, name, d.Name, d.Optional)
}

// depKey writes targets without spaces, which Cargo sets anew in the metadata.
func depKey(kind, target, name, crate string, optional bool) string {
	return fmt.Sprintf("%s %s %s %s %v", kind, strings.ReplaceAll(target, " ", ""), name, crate, optional)
}

// dependencies returns the keys of all, dev-dependencies without a version left
// out as Cargo does: they are paths in the publisher's workspace.
func (m *manifest) dependencies() ([]string, error) {
	keys, err := m.tables.keys("")
	if err != nil {
		return nil, err
	}
	for target, t := range m.Target {
		more, err := t.keys(target)
		if err != nil {
			return nil, err
		}
		keys = append(keys, more...)
	}
	return keys, nil
}

func (t tables) keys(target string) ([]string, error) {
	var keys []string
	for _, table := range []struct {
		kind string
		deps map[string]any
	}{{"normal", t.Normal}, {"build", t.Build}, {"build", t.Build2}, {"dev", t.Dev}, {"dev", t.Dev2}} {
		for name, v := range table.deps {
			crate, optional, versioned := name, false, false
			switch d := v.(type) {
			case string:
				versioned = true
			case map[string]any:
				if p, ok := d["package"].(string); ok {
					crate = p
				}
				optional, _ = d["optional"].(bool)
				_, versioned = d["version"].(string)
			default:
				return nil, bad("Cargo.toml: the dependency %q is neither a version nor a table", name)
			}
			if table.kind != "dev" || versioned {
				keys = append(keys, depKey(table.kind, target, name, crate, optional))
			}
		}
	}
	return keys, nil
}
