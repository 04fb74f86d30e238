package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// releaseProgramPages unmaps the pages of the program itself, most of which
// only the start has touched: what is needed on is mapped again from the
// system's cache of files when it is used. Parts of the program that were
// written to, as relocations are, stay.
func releaseProgramPages() error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the program: %w", err)
	}
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return fmt.Errorf("read the memory map: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	areas, err := unchangedAreas(f, program)
	if err != nil {
		return fmt.Errorf("read the memory map: %w", err)
	}
	for _, a := range areas {
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, a.start, a.end-a.start, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("unmap %x-%x of the program: %w", a.start, a.end, errno)
		}
	}
	return nil
}

// dropPages gives the pages of b back to the system. It reads as zeros then.
func dropPages(b []byte) {
	unix.Madvise(b, unix.MADV_DONTNEED) //nolint:errcheck // they only stay resident then
}

// area is a stretch of addresses.
type area struct{ start, end uintptr }

// unchangedAreas reads proc(5) smaps: the areas that map a file, can't be
// written and have no page of their own.
func unchangedAreas(smaps io.Reader, file string) ([]area, error) {
	var out []area
	var current *area
	for lines := bufio.NewScanner(smaps); ; {
		if !lines.Scan() {
			if current != nil {
				out = append(out, *current)
			}
			return out, lines.Err()
		}
		words := strings.Fields(lines.Text())
		switch {
		case len(words) >= 5 && strings.Contains(words[0], "-") && !strings.HasSuffix(words[0], ":"):
			if current != nil {
				out = append(out, *current)
			}
			current = nil
			if len(words) == 6 && words[5] == file && !strings.Contains(words[1], "w") {
				current = parseArea(words[0])
			}
		case len(words) >= 2 && words[0] == "Anonymous:" && words[1] != "0":
			current = nil
		}
	}
}

func parseArea(s string) *area {
	from, to, _ := strings.Cut(s, "-")
	start, err1 := strconv.ParseUint(from, 16, 64)
	end, err2 := strconv.ParseUint(to, 16, 64)
	if err1 != nil || err2 != nil || end <= start {
		return nil
	}
	return &area{uintptr(start), uintptr(end)}
}
