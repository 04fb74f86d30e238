package pypi

import (
	"mime"
	"strconv"
	"strings"
)

// forms are the media types of a page, best first for who does not care: a
// browser, or an installer that knows HTML only.
var forms = [...]struct {
	name    string
	aliases [2]string
}{
	{typeText, [2]string{mediaText, ""}},
	{typeHTML, [2]string{typeHTML, "application/vnd.pypi.simple.latest+html"}},
	{typeJSON, [2]string{typeJSON, "application/vnd.pypi.simple.latest+json"}},
}

// negotiate chooses the form of a page by PEP 691: format, if the query has it,
// else the greatest quality that Accept gives. false: none will do.
func negotiate(accept []string, format string) (string, bool) {
	if format != "" {
		// The plus of "+json" that was not escaped is a space in a query.
		accept = []string{strings.ReplaceAll(format, " ", "+")}
	}
	if len(accept) == 0 {
		return typeText, true
	}
	best, quality := "", 0.0
	for _, form := range forms {
		if q := qualityOf(accept, form.aliases); q > quality {
			best, quality = form.name, q
		}
	}
	return best, quality > 0
}

// qualityOf is what the most precise range that covers a form says of it.
func qualityOf(accept []string, aliases [2]string) float64 {
	quality, precise := 0.0, -1
	for _, line := range accept {
		for item := range strings.SplitSeq(line, ",") {
			kind, params, err := mime.ParseMediaType(item)
			if err != nil {
				continue
			}
			p := precision(kind, aliases)
			if p < 0 || p < precise {
				continue
			}
			q := 1.0
			if v, ok := params["q"]; ok {
				if q, err = strconv.ParseFloat(v, 64); err != nil || q < 0 || q > 1 {
					continue
				}
			}
			if p > precise {
				quality, precise = q, p
			} else {
				quality = max(quality, q)
			}
		}
	}
	return quality
}

// precision tells how closely a range names a form, -1 if not at all.
func precision(kind string, aliases [2]string) int {
	major, _, _ := strings.Cut(aliases[0], "/")
	switch kind {
	case aliases[0], aliases[1]:
		return 2
	case major + "/*":
		return 1
	case "*/*":
		return 0
	}
	return -1
}
