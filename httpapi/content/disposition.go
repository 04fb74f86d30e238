package content

import (
	"strings"
	"unicode/utf8"
)

// Disposition is the value of a Content-Disposition header; kind is
// "attachment" or "inline". The name is quoted so that nothing in it can end
// the parameter (RFC 6266, RFC 8187): clients that know filename* get the
// exact name, others one in ASCII.
func Disposition(kind, filename string) string {
	var b strings.Builder
	b.Grow(len(kind) + len(filename) + 16)
	b.WriteString(kind)
	b.WriteString(`; filename="`)
	exact := true
	for _, r := range filename {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f || r >= utf8.RuneSelf:
			b.WriteByte('_')
			exact = false
		default:
			// Some clients undo %XX in a plain filename.
			exact = exact && r != '%'
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	if !exact {
		b.WriteString(`; filename*=UTF-8''`)
		percentEncode(&b, filename)
	}
	return b.String()
}

// percentEncode writes s with all but attr-char of RFC 8187 encoded.
func percentEncode(b *strings.Builder, s string) {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$&+-.^_`|~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
}

// Scriptable tells whether a browser would run script in a document of the
// media type. Such files are served in a sandbox: who may upload must not act
// as who looks.
func Scriptable(mediaType string) bool {
	t, _, _ := strings.Cut(mediaType, ";")
	t = strings.TrimSpace(t)
	if len(t) < 8 {
		return false
	}
	return strings.EqualFold(t, "text/html") || strings.EqualFold(t, "text/xml") || strings.EqualFold(t, "application/xml") ||
		strings.EqualFold(t[len(t)-4:], "+xml") || strings.EqualFold(t, "text/xsl") || strings.EqualFold(t, "multipart/related")
}
