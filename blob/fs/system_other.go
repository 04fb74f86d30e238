//go:build !linux

package fs

import (
	"errors"
	"os"
)

const (
	canAnonymous  = false
	anonymousFlag = 0
	canDirect     = false
	directFlag    = 0
)

func linkAnonymous(_, _ *os.File, _ string) error { return errors.ErrUnsupported }

func spreadFolders(*os.File) {}

func startWriteBack(*os.File, int64, int64) {}

func endDirect(*os.File) error { return errors.ErrUnsupported }

func openBeneath(root *os.Root, _ *os.File, name string) (*os.File, error) { return root.Open(name) }
