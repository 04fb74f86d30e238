package npm

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"granary/digest"
	"granary/formats"
	"granary/formats/archive"
)

// Limits of what is told of a version, in bytes.
const (
	maxPackageJSON = 4 << 20   // package.json, which may have a readme in it
	maxManifest    = 160 << 10 // what is kept of it: it is part of a record
)

// manifest is what a packument says of a version: a package.json, with "dist"
// and a few more.
type manifest map[string]json.RawMessage

// text returns a string member, "" where there is none.
func (m manifest) text(key string) string {
	var s string
	if json.Unmarshal(m[key], &s) != nil {
		return ""
	}
	return s
}

func (m manifest) set(key string, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode %s: %w", key, err)
	}
	m[key] = b
	return nil
}

// contents is what walking a tarball finds.
type contents struct {
	manifest   manifest
	files      int
	unpacked   int64
	shrinkwrap bool
	gyp        bool // there is a binding.gyp
}

// inspect walks a tarball. Like npm it takes the first folder of each path as the
// root, whatever that is called.
func inspect(ctx context.Context, b formats.Blob) (*contents, error) {
	c := &contents{}
	err := archive.TarGz(ctx, b, archive.Default, c.entry)
	switch {
	case err != nil:
		return nil, err
	case c.manifest == nil:
		return nil, bad("the tarball has no package.json")
	}
	return c, nil
}

func (c *contents) entry(e archive.Entry) error {
	if e.Kind != archive.File {
		return nil
	}
	c.files++
	c.unpacked += e.Size
	_, name, below := strings.Cut(e.Name, "/")
	switch {
	case !below:
		return nil
	case name == "binding.gyp":
		c.gyp = true
	case name == "npm-shrinkwrap.json":
		c.shrinkwrap = true
	case name != "package.json":
		return nil
	case c.manifest != nil:
		return bad("the tarball has two package.json")
	default:
		data, err := archive.ReadAll(e, maxPackageJSON)
		if err != nil {
			return err
		}
		data = []byte(strings.TrimPrefix(string(data), "\ufeff"))
		if err := json.Unmarshal(data, &c.manifest); err != nil || c.manifest == nil {
			return bad("package.json in the tarball is no JSON object")
		}
	}
	return nil
}

// taken are members of the document that a client sends which are not in
// package.json, but what the client itself knows.
var taken = [...]string{"_nodeVersion", "_npmVersion", "_npmUser", "gitHead", "maintainers"}

// complete makes the manifest of a version out of its package.json: whatever
// decides what is installed or run comes from the tarball.
func (c *contents) complete(sent manifest, b formats.Blob) (manifest, error) {
	m := c.manifest
	name, version := m.text("name"), plain(m.text("version"))
	for key := range m {
		if strings.HasPrefix(key, "_") || key == "dist" || key == "deprecated" || key == "readme" || key == "readmeFilename" || key == "hasInstallScript" {
			delete(m, key)
		}
	}
	for _, key := range taken {
		if v := sent[key]; v != nil && string(v) != "null" {
			m[key] = v
		}
	}
	if bin := m.text("bin"); bin != "" {
		if err := m.set("bin", map[string]string{path.Base(name): bin}); err != nil {
			return nil, err
		}
	}
	var scripts map[string]json.RawMessage
	json.Unmarshal(m["scripts"], &scripts) //nolint:errcheck // another type has no scripts
	install := scripts["install"] != nil || scripts["preinstall"] != nil || scripts["postinstall"] != nil
	if c.gyp && scripts["install"] == nil && scripts["preinstall"] == nil && string(m["gypfile"]) != "false" {
		// What npm does with such a package wherever it meets it.
		if scripts == nil {
			scripts = map[string]json.RawMessage{}
		}
		scripts["install"], install = json.RawMessage(`"node-gyp rebuild"`), true
		m["gypfile"] = json.RawMessage("true")
		if err := m.set("scripts", scripts); err != nil {
			return nil, err
		}
	}
	if install {
		m["hasInstallScript"] = json.RawMessage("true")
	}
	if c.shrinkwrap {
		m["_hasShrinkwrap"] = json.RawMessage("true")
	}
	sums := b.Sums()
	for key, value := range map[string]any{
		"_id": name + "@" + version, "version": version,
		"dist": map[string]any{
			"integrity": integrity(sums), "shasum": sums.Hex(digest.SHA1), "fileCount": c.files, "unpackedSize": c.unpacked,
		},
	} {
		if err := m.set(key, value); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// integrity is a digest as Subresource Integrity writes it.
func integrity(sums digest.Sums) string {
	return "sha512-" + base64.StdEncoding.EncodeToString(sums.SHA512)
}

// encode returns the manifest as the Meta of a record.
func (m manifest) encode() ([]byte, error) {
	data, err := json.Marshal(m)
	if err != nil {
		return nil, bad("package.json: %v", err)
	}
	if len(data) > maxManifest {
		return nil, bad("package.json has %d bytes without its readme, at most %d are possible", len(data), maxManifest)
	}
	return data, nil
}
