package nexus

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"granary/formats"
	"granary/repo"
)

// yieldSorted yields all matches in order, from the n-th on. false: nothing was
// yielded, as there are more than are sorted.
func yieldSorted(ctx context.Context, h *repo.Handle, c criteria, n int, yield func(repo.Located, error) bool) bool {
	var found []formats.Record
	looked := 0
	for rec, err := range h.Walk(ctx, c.directory()) {
		if err != nil {
			yield(repo.Located{}, err)
			return true
		}
		if c.matchRecord(h.Format, rec) {
			found = append(found, rec)
		}
		if looked++; len(found) > maxSorted || looked > steps {
			return false
		}
	}
	compare := strings.Compare
	if c.sort == "version" {
		compare = natural
	}
	slices.SortFunc(found, func(a, b formats.Record) int {
		if c.descending {
			a, b = b, a
		}
		return compare(pathOf(a), pathOf(b))
	})
	for i := min(n, len(found)); i < len(found); i++ {
		if !yield(repo.Located{Record: found[i], Next: sortToken(i + 1)}, nil) {
			return true
		}
	}
	return true
}

// natural compares runs of digits as numbers, so that 1.10 follows 1.9.
func natural(a, b string) int {
	x, y := a, b
	for x != "" && y != "" {
		i, j := digits(x), digits(y)
		if i > 0 && j > 0 {
			if c := compareNumbers(x[:i], y[:j]); c != 0 {
				return c
			}
			x, y = x[i:], y[j:]
			continue
		}
		if x[0] != y[0] {
			return cmp.Compare(x[0], y[0])
		}
		x, y = x[1:], y[1:]
	}
	if c := cmp.Compare(len(x), len(y)); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}

func digits(s string) int {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return i
}

// compareNumbers compares numbers of any length.
func compareNumbers(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	if c := cmp.Compare(len(a), len(b)); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}
