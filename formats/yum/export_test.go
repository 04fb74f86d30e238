package yum

import "io"

// Read returns what the headers of a package say: its name as people write it
// and the metadata that a repository has of it.
func Read(r io.Reader) (nevra, primary, filelists, other string, err error) {
	c, err := newChecked(r)
	if err != nil {
		return "", "", "", "", err
	}
	p, err := c.describe()
	if err != nil {
		return "", "", "", "", err
	}
	if _, err := io.Copy(io.Discard, c); err != nil {
		return "", "", "", "", err
	}
	f := p.fragments(sum{"sha256", "00"}, 1)
	return p.nevra(), string(f.Head) + string(f.Tail), string(f.Files), string(f.Other), c.finish()
}

// ParseRepomd returns how many documents an upstream's repomd.xml lists.
func ParseRepomd(text []byte) (int, error) {
	list, err := parseRepomd(text)
	return len(list), err
}
