//go:build testclock

package main

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// wallClock adds the offset (+0, +6d, +26h) in the file named by
// TEST_CLOCK_FILE, read each time, to the wall clock: black-box tests of
// retention and TTLs move it. Release builds have none of this.
func wallClock() time.Time {
	path := os.Getenv("TEST_CLOCK_FILE")
	if path == "" {
		return time.Now()
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return time.Now()
	}
	return time.Now().Add(clockOffset(strings.TrimSpace(string(b))))
}

func clockOffset(s string) time.Duration {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseFloat(strings.TrimPrefix(days, "+"), 64); err == nil {
			return time.Duration(n * 24 * float64(time.Hour))
		}
	}
	d, err := time.ParseDuration(strings.TrimPrefix(s, "+"))
	if err != nil {
		return 0
	}
	return d
}
