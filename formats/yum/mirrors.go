package yum

import (
	"encoding/xml"
	"fmt"
	"net/url"
	"strings"

	"granary/digest"
	"granary/formats"
)

// Lists goes by what such URLs are called: a host "mirrorlist.…", or a path
// whose last segment begins so or with "metalink".
func (*Format) Lists(upstreamURL string) bool {
	u, err := url.Parse(upstreamURL)
	if err != nil {
		return false
	}
	path := strings.TrimRight(u.Path, "/")
	name := path[strings.LastIndexByte(path, '/')+1:]
	return strings.HasPrefix(u.Hostname(), "mirrorlist.") || strings.HasPrefix(name, "mirrorlist") || strings.HasPrefix(name, "metalink") ||
		strings.HasSuffix(name, ".metalink")
}

// Mirrors reads a mirrorlist, a URL on each line, or a metalink of repomd.xml.
func (*Format) Mirrors(list []byte) (bases []string, sums map[string]digest.Sums, err error) {
	if strings.HasPrefix(strings.TrimSpace(string(list)), "<") {
		return parseMetalink(list)
	}
	for line := range strings.Lines(string(list)) {
		if line = strings.TrimSpace(line); usable(line) {
			bases = append(bases, line)
		}
	}
	return bases, nil, nil
}

// usable tells whether a mirror can be asked; rsync, for one, can't.
func usable(mirror string) bool {
	u, err := url.Parse(mirror)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// parseMetalink reads a metalink, version 3 as MirrorManager writes it.
func parseMetalink(list []byte) (bases []string, sums map[string]digest.Sums, err error) {
	var doc struct {
		XMLName xml.Name `xml:"metalink"`
		Files   []struct {
			Name   string `xml:"name,attr"`
			Hashes []struct {
				Type  string `xml:"type,attr"`
				Value string `xml:",chardata"`
			} `xml:"verification>hash"`
			URLs []string `xml:"resources>url"`
		} `xml:"files>file"`
	}
	if err := xml.Unmarshal(list, &doc); err != nil {
		return nil, nil, fmt.Errorf("%w: the metalink can't be read: %s", formats.ErrUpstream, err.Error())
	}
	const entry = repodata + "/" + repomd
	for _, f := range doc.Files {
		if f.Name != repomd {
			continue
		}
		for _, h := range f.Hashes {
			sum, err := digest.ParseHex(digest.SHA256, strings.ToLower(strings.TrimSpace(h.Value)))
			if h.Type == "sha256" && err == nil {
				sums = map[string]digest.Sums{entry: {SHA256: sum}}
			}
		}
		for _, u := range f.URLs {
			if base, ok := strings.CutSuffix(strings.TrimSpace(u), "/"+entry); ok && usable(base) {
				bases = append(bases, base)
			}
		}
	}
	return bases, sums, nil
}
