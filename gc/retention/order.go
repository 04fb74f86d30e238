package retention

import "strings"

// greater orders versions as people do: numbers as numbers, and what ends
// before a word, such as 1.0 before 1.0-rc1 or 1.0.dev3, after it.
func greater(a, b string) bool {
	for {
		x, restA := token(a)
		y, restB := token(b)
		switch {
		case x == "" && y == "":
			return false
		case x != y:
			return tokenGreater(x, y)
		}
		a, b = restA, restB
	}
}

// token cuts the next run of digits or letters off.
func token(s string) (t, rest string) {
	s = strings.TrimLeft(s, ".-_+~ ")
	if s == "" {
		return "", ""
	}
	i := 1
	for i < len(s) && digit(s[i]) == digit(s[0]) && !strings.ContainsRune(".-_+~ ", rune(s[i])) {
		i++
	}
	return s[:i], s[i:]
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

func tokenGreater(x, y string) bool {
	nx, ny := x != "" && digit(x[0]), y != "" && digit(y[0])
	switch {
	case nx && ny:
		x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
		if len(x) != len(y) {
			return len(x) > len(y)
		}
		return x > y
	case nx != ny && x != "" && y != "":
		return nx // 1.0.1 after 1.0.rc1
	case x == "":
		return !ny // the end comes after a word, before a number
	case y == "":
		return nx
	}
	return x > y
}
