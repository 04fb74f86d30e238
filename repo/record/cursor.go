package record

import "strings"

// After is the cursor behind an entry as formats name it: a directory ends in a
// slash. "" is the beginning.
func After(entry string) Cursor {
	if entry == "" {
		return ""
	}
	if name, ok := strings.CutSuffix(entry, "/"); ok {
		return Cursor(cursorDir) + Cursor(name)
	}
	return Cursor(cursorFile) + Cursor(entry)
}
