//go:build !testclock

package main

import "time"

// wallClock is where time comes from, for everything that decides by it.
func wallClock() time.Time { return time.Now() }
