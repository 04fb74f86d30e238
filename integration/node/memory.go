package node

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// ResetPeak makes PeakRSS count from now on.
func (n *Node) ResetPeak() {
	n.t.Helper()
	// proc_pid_clear_refs(5): 5 resets the peak resident set size.
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", n.PID()), []byte("5"), 0o200); err != nil {
		n.t.Fatal(err)
	}
}

// MemoryMap tells where resident memory is, the largest mappings first: for the
// message of a test that finds too much of it.
func (n *Node) MemoryMap() string {
	n.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", n.PID()))
	if err != nil {
		n.t.Fatal(err)
	}
	type mapping struct {
		name string
		kib  int64
	}
	var all []mapping
	var name string
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		switch {
		case len(f) >= 5 && strings.Contains(f[0], "-") && !strings.HasSuffix(f[0], ":"):
			name = f[1] + " " + strings.Join(f[5:], " ")
		case len(f) == 3 && f[0] == "Rss:":
			var kib int64
			if _, err := fmt.Sscan(f[1], &kib); err != nil {
				n.t.Fatal(err)
			}
			all = append(all, mapping{name, kib})
		}
	}
	slices.SortFunc(all, func(a, b mapping) int { return int(b.kib - a.kib) })
	var out strings.Builder
	for _, kind := range []string{"RssAnon:", "RssFile:"} {
		fmt.Fprintf(&out, "%s %d KiB\n", kind, procField(n.t, n.PID(), kind)>>10)
	}
	for _, m := range all[:min(len(all), 8)] {
		fmt.Fprintf(&out, "%8d KiB %s\n", m.kib, m.name)
	}
	return out.String()
}
