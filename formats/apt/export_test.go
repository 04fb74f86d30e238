package apt

import "io"

// ReadDeb returns the name, version and architecture of a package and its files.
func ReadDeb(r io.ReaderAt, size int64) (coordinates [3]string, files []string, err error) {
	d, err := readDeb(r, size)
	if err != nil {
		return coordinates, nil, err
	}
	coordinates[0], coordinates[1], coordinates[2], err = identify(d.control)
	return coordinates, d.files, err
}

// ParseRelease returns how many files a Release file lists.
func ParseRelease(text []byte) (int, error) {
	r, err := parseRelease(unsigned(text))
	if err != nil {
		return 0, err
	}
	return len(r.files), nil
}

// Paragraphs reads all control data and writes it again.
func Paragraphs(r io.Reader) ([]byte, error) {
	ps := newParagraphs(r)
	var out []byte
	for {
		p, err := ps.next()
		if err == io.EOF { //nolint:errorlint // plain by contract
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(p.append(out), '\n')
	}
}
