package apt

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"granary/digest"
	"granary/formats"
)

// dateFormat is RFC 2822 in UTC, as apt reads it.
const dateFormat = "Mon, 02 Jan 2006 15:04:05 UTC"

// release writes Release and its signed forms, last: whoever reads it finds
// everything that it lists.
func (d *distribution) release(now time.Time) error {
	text := d.releaseText(now)
	signer, err := d.pub.Signer()
	if err != nil {
		return err
	}
	clear, err := signer.Clear(text)
	if err != nil {
		return err
	}
	detached, err := signer.Detached(bytes.NewReader(text))
	if err != nil {
		return err
	}
	for _, doc := range []struct {
		path, typ string
		data      []byte
	}{{release, typeText, text}, {releaseGPG, typeSignature, detached}, {inRelease, typeText, clear}} {
		w, err := d.pub.Create(doc.path, doc.typ)
		if err != nil {
			return err
		}
		if _, err := w.Write(doc.data); err != nil {
			return err
		}
	}
	return nil
}

func (d *distribution) releaseText(now time.Time) []byte {
	set := d.pub.Settings()
	slices.Sort(d.archs)
	p := slices.Concat(d.set("Origin", "granary"), d.set("Label", "granary"), d.set("Suite", d.name), d.set("Version", ""), d.set("Codename", d.name))
	p = append(p, field{"Date", now.Format(dateFormat)})
	if set.ValidFor > 0 {
		p = append(p, field{"Valid-Until", now.Add(set.ValidFor).Format(dateFormat)})
	}
	p = slices.Concat(p, d.set("NotAutomatic", ""), d.set("ButAutomaticUpgrades", ""), d.set("Changelogs", "no"))
	p = append(p, field{"Acquire-By-Hash", "yes"}, field{"Architectures", strings.Join(d.archs, " ")}, field{"Components", strings.Join(d.components, " ")})
	p = append(p, d.set("Description", "Packages of distribution "+d.name)...)
	if slices.ContainsFunc(d.archs, func(a string) bool { return a != archAll }) && slices.Contains(d.archs, archAll) {
		// Every index has the packages of every architecture too.
		p = append(p, field{"No-Support-for-Architecture-all", "Packages"})
	}
	for _, list := range []struct {
		name string
		a    digest.Algorithm
	}{{"MD5Sum", digest.MD5}, {"SHA256", digest.SHA256}, {"SHA512", digest.SHA512}} {
		p = append(p, field{list.name, d.digests(list.a)})
	}
	return p.append(nil)
}

// sectionRelease writes the Release beside an index, which says what that is.
func (d *distribution) sectionRelease() error {
	path := index(d.component, d.arch)
	path = path[:strings.LastIndexByte(path, '/')+1] + release
	w, err := d.pub.Create(path, typeText, algorithms...)
	if err != nil {
		return err
	}
	p := paragraph{{"Archive", d.set("Suite", d.name)[0].value}}
	p = slices.Concat(p, d.set("Origin", "granary"), d.set("Label", "granary"), d.set("Version", ""))
	p = append(p, field{"Acquire-By-Hash", "yes"}, field{"Component", d.component}, field{"Architecture", d.arch})
	if _, err := w.Write(p.append(nil)); err != nil {
		return err
	}
	doc, err := d.pub.Document(path)
	if err != nil {
		return err
	}
	return d.publish(path, doc)
}

// digests is a list of Release: sum, size and path, a line each, of what has
// such a digest.
func (d *distribution) digests(a digest.Algorithm) string {
	var b strings.Builder
	for _, e := range d.entries {
		if len(e.sums.Get(a)) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n %s %16d %s", e.sums.Hex(a), e.size, e.path)
	}
	return b.String()
}

// setup configures a client; it is served with the repository's URL in it.
const setup = `#!/bin/sh
# Adds this repository to apt: sh setup.sh DISTRIBUTION [COMPONENT...]
set -eu
url=%s
[ $# -ge 1 ] || { echo "usage: sh setup.sh DISTRIBUTION [COMPONENT...]" >&2; exit 2; }
distribution=$1; shift
[ $# -ge 1 ] || set -- main
name=$(printf '%%s' "$url" | sed 's|.*://||; s|[^A-Za-z0-9]\{1,\}|-|g; s|-$||')
dir=${APT_CONFIG_DIR:-/etc/apt}
mkdir -p "$dir/keyrings" "$dir/sources.list.d"
keyring=$dir/keyrings/$name.asc
cat >"$keyring" <<'KEY'
%sKEY
chmod 644 "$keyring"
cat >"$dir/sources.list.d/$name.sources" <<SOURCES
Types: deb
URIs: $url
Suites: $distribution
Components: $*
Signed-By: $keyring
SOURCES
echo "$dir/sources.list.d/$name.sources is written; run apt-get update"
`

// renderKeys writes the public keys and what installs them.
func renderKeys(recs func(func(formats.Record, error) bool), pub formats.Pub) error {
	for _, err := range recs {
		if err != nil {
			return err
		}
	}
	signer, err := pub.Signer()
	if err != nil {
		return err
	}
	armored, err := signer.Public(true)
	if err != nil {
		return err
	}
	binary, err := signer.Public(false)
	if err != nil {
		return err
	}
	script := fmt.Sprintf(setup, pub.URL(""), armored)
	for _, doc := range []struct {
		path, typ string
		data      []byte
	}{{keyDoc, typeKey, armored}, {keyBinary, typeOctets, binary}, {setupDoc, "text/x-shellscript; charset=utf-8", []byte(script)}} {
		w, err := pub.Create(doc.path, doc.typ)
		if err != nil {
			return err
		}
		if _, err := w.Write(doc.data); err != nil {
			return err
		}
	}
	return nil
}
