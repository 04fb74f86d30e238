package helm

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"go.yaml.in/yaml/v3"

	"granary/formats"
)

// found is a version in an upstream's index.
type found struct {
	piece
	created, digest string
	url             string // the first of them
}

// errStyle is returned for an index that is not in the block style that Helm
// writes; it has to be parsed as a whole.
var errStyle = errors.New("not in block style")

// scan reads an index line by line and calls f with each version, until f
// returns false. It looks at indentation and at the keys of versions; what
// their values are is looked at when they are needed. A version whose name or
// version can't be told is passed over, as Helm does.
func scan(index []byte, f func(found) bool) error {
	s := scanner{lines: index}
	if err := s.entries(); err != nil {
		return err
	}
	for s.next() {
		line := s.line
		switch at := indentOf(line); {
		case blank(line) || comment(line):
		case bytes.ContainsRune(line[:min(at+1, len(line))], '\t'):
			return errStyle
		case isItem(line[at:]):
			if s.chart == "" {
				return errStyle
			}
			v, err := s.item()
			if err != nil {
				return err
			}
			if v.name == "" {
				v.name = s.chart
			}
			if validName(v.name) && validVersion(v.version) && !f(v) {
				return nil
			}
		case at == 0:
			return nil // another key of the index
		default:
			key, value, ok := keyValue(line[at:])
			if !ok || value != "" && value != "[]" {
				return errStyle
			}
			s.chart = key
		}
	}
	return nil
}

type scanner struct {
	lines []byte // what is left
	line  []byte // the present one, without its end
	back  bool   // the present one is to be read again
	chart string
}

func (s *scanner) next() bool {
	if s.back {
		s.back = false
		return true
	}
	if len(s.lines) == 0 {
		return false
	}
	line, rest, _ := bytes.Cut(s.lines, []byte("\n"))
	s.line, s.lines = bytes.TrimSuffix(line, []byte("\r")), rest
	return true
}

// entries goes to the line after the key entries.
func (s *scanner) entries() error {
	for s.next() {
		switch {
		case blank(s.line), comment(s.line), bytes.Equal(s.line, []byte("---")), s.line[0] == ' ', s.line[0] == '-':
			continue
		}
		key, value, ok := keyValue(s.line)
		if !ok || key == "entries" && value != "" && value != "{}" && value != "null" {
			return errStyle
		}
		if key == "entries" {
			return nil
		}
	}
	return errStyle
}

// item reads a version, whose first line is the present one. It ends before the
// first line that is less indented than its keys.
func (s *scanner) item() (found, error) {
	dash := indentOf(s.line)
	first := dash + 1 + indentOf(s.line[dash+1:])
	if first >= len(s.line) {
		return found{}, errStyle // "-" alone
	}
	v := found{piece: piece{lines: make([]byte, 0, 1<<10)}}
	key := ""
	line := bytes.Clone(s.line)
	line[dash] = ' '
	for {
		if !blank(line) && indentOf(line) == first && !isItem(line[first:]) && !comment(line) {
			k, value, ok := keyValue(line[first:])
			if !ok {
				return found{}, errStyle
			}
			if key = k; !v.set(key, value) {
				return found{}, errStyle
			}
		} else if key == "urls" && v.url == "" {
			v.url = listItem(line)
		}
		switch key {
		case "created", "digest", "urls":
		default:
			v.lines = append(v.lines, indent...)
			v.lines = append(v.lines, line[min(first, len(line)):]...)
			v.lines = append(v.lines, '\n')
		}
		if !s.next() {
			return v, nil
		}
		line = s.line
		if !blank(line) && indentOf(line) < first {
			if comment(line) {
				line = nil
				continue
			}
			s.back = true
			return v, nil
		}
	}
}

// set takes a key of a version; false where the value is in a style that is not
// read here.
func (v *found) set(key, value string) bool {
	var ok bool
	switch key {
	case "name":
		v.name, ok = scalar(value)
	case "version":
		v.version, ok = scalar(value)
	case "created":
		v.created, ok = scalar(value)
	case "digest":
		v.digest, ok = scalar(value)
	case "urls":
		ok = value == "" || value == "[]"
	default:
		ok = true
	}
	return ok
}

func indentOf(line []byte) int {
	for i, c := range line {
		if c != ' ' {
			return i
		}
	}
	return len(line)
}

func blank(line []byte) bool { return len(bytes.TrimSpace(line)) == 0 }

func comment(line []byte) bool { return bytes.HasPrefix(bytes.TrimLeft(line, " "), []byte("#")) }

func isItem(text []byte) bool {
	return len(text) > 0 && text[0] == '-' && (len(text) == 1 || text[1] == ' ')
}

// keyValue reads "key: value", the key plain or in quotes.
func keyValue(text []byte) (key, value string, ok bool) {
	if len(text) == 0 || strings.IndexByte("[]{}&*!|>%@`,?-", text[0]) >= 0 {
		return "", "", false
	}
	k, v, ok := bytes.Cut(text, []byte(":"))
	if !ok || len(v) > 0 && v[0] != ' ' {
		return "", "", false
	}
	key, ok = scalar(string(k))
	value = string(bytes.TrimSpace(v))
	if strings.HasPrefix(value, "#") {
		value = ""
	}
	return key, value, ok
}

// listItem reads the scalar in "- value", "" if it is none.
func listItem(line []byte) string {
	text, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("- "))
	if !ok {
		return ""
	}
	s, ok := scalar(string(bytes.TrimSpace(text)))
	if !ok {
		return ""
	}
	return s
}

// scalar reads one on a single line; false for anything else.
func scalar(text string) (string, bool) {
	text = strings.TrimSpace(text)
	if text == "" {
		return "", true
	}
	switch text[0] {
	case '"':
		end := strings.LastIndexByte(text, '"')
		var s string
		if !trailing(text[end+1:]) || json.Unmarshal([]byte(text[:end+1]), &s) != nil {
			return "", false
		}
		return s, true
	case '\'':
		end := strings.LastIndexByte(text, '\'')
		inner := text[1:max(end, 1)]
		if end == 0 || !trailing(text[end+1:]) || strings.Contains(strings.ReplaceAll(inner, "''", ""), "'") {
			return "", false
		}
		return strings.ReplaceAll(inner, "''", "'"), true
	case '[', ']', '{', '}', '&', '*', '!', '|', '>', '%', '@', '`', ',', '#':
		return "", false
	}
	if i := strings.Index(text, " #"); i >= 0 {
		text = strings.TrimSpace(text[:i])
	}
	return text, true
}

// trailing tells whether nothing but a comment follows a value.
func trailing(text string) bool {
	return strings.TrimSpace(text) == "" || strings.HasPrefix(text, " #")
}

// Limits of an index that is parsed as a whole.
const (
	maxParsed = 16 << 20 // bytes
	maxWork   = 50_000_000
)

// parseWhole reads an index in any style.
func parseWhole(index []byte, f func(found) bool) error {
	if len(index) > maxParsed {
		return errors.New("neither in the form that Helm writes nor small")
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(index, &doc); err != nil {
		return err
	}
	if len(doc.Content) != 1 {
		return errors.New("no entries")
	}
	work := maxWork
	entries := member(doc.Content[0], "entries")
	if entries == nil || entries.Kind != yaml.MappingNode {
		return errors.New("no entries")
	}
	for i := 0; i+1 < len(entries.Content); i += 2 {
		for _, n := range entries.Content[i+1].Content {
			v, ok, err := parseVersion(entries.Content[i].Value, n, &work)
			if err != nil {
				return err
			}
			if ok && !f(v) {
				return nil
			}
		}
	}
	return nil
}

// member is the first value of a key, nil if there is none.
func member(n *yaml.Node, key string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// parseVersion reads a version of a chart; false for one that can't be served.
func parseVersion(name string, n *yaml.Node, work *int) (found, bool, error) {
	var c struct {
		chart   `yaml:",inline"`
		Created text   `yaml:"created"`
		Digest  text   `yaml:"digest"`
		URLs    []text `yaml:"urls"`
	}
	if err := formats.DecodeYAML(n, &c, work); err != nil {
		return found{}, false, err
	}
	if c.Name == "" {
		c.Name = text(name)
	}
	p, err := pieceOf(&c.chart)
	if err != nil || !validName(p.name) || !validVersion(p.version) {
		return found{}, false, nil //nolint:nilerr // it is passed over
	}
	v := found{piece: p, created: string(c.Created), digest: string(c.Digest)}
	if len(c.URLs) > 0 {
		v.url = string(c.URLs[0])
	}
	return v, true, nil
}
