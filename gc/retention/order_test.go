package retention

import "testing"

func TestGreater(t *testing.T) {
	ascending := []string{"a", "", "0.9", "1.0-alpha.2", "1.0-alpha.10", "1.0-rc1", "1.0", "1.0.0.1", "1.0.1", "v1.2.0", "v1.10.0", "v2"}
	// Names with and without a leading letter are not compared here.
	for _, group := range [][]string{ascending[:2], ascending[2:9], ascending[9:]} {
		for i := range group {
			for j := range group {
				if got := greater(group[i], group[j]); got != (i > j) {
					t.Errorf("greater(%q, %q) = %v", group[i], group[j], got)
				}
			}
		}
	}
}

func FuzzGreater(f *testing.F) {
	f.Add("1.0", "1.0-rc1")
	f.Add("1..0", "01.0")
	f.Add("é1", "e1")
	f.Fuzz(func(t *testing.T, a, b string) {
		if greater(a, b) && greater(b, a) {
			t.Errorf("%q and %q are greater than each other", a, b)
		}
		if greater(a, a) {
			t.Errorf("%q is greater than itself", a)
		}
	})
}
