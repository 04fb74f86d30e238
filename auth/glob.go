package auth

// match tells whether a repository name fits a glob: "*" stands for any number
// of characters, "?" for one, everything else for itself. It takes time
// proportional to len(glob)·len(name) at the most.
func match(glob, name string) bool {
	g, n := 0, 0
	star, retry := -1, 0 // the last "*" seen, and where what follows it was tried
	for n < len(name) {
		switch {
		case g < len(glob) && glob[g] == '*':
			star, retry = g, n
			g++
		case g < len(glob) && (glob[g] == '?' || glob[g] == name[n]):
			g++
			n++
		case star >= 0:
			retry++
			g, n = star+1, retry
		default:
			return false
		}
	}
	for g < len(glob) && glob[g] == '*' {
		g++
	}
	return g == len(glob)
}

// maxGlob is the longest glob in bytes, twice the longest repository name.
const maxGlob = 126

// checkGlob refuses globs that fit no repository name, which is ASCII.
func checkGlob(glob string) bool {
	if glob == "" || len(glob) > maxGlob {
		return false
	}
	for i := range len(glob) {
		switch c := glob[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '_', c == '-', c == '*', c == '?':
		default:
			return false
		}
	}
	return true
}
