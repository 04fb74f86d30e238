package fs

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	canAnonymous  = true
	anonymousFlag = unix.O_TMPFILE
	canDirect     = true
	directFlag    = unix.O_DIRECT
)

// linkAnonymous gives a file without a name one in the open folder dir.
func linkAnonymous(f, dir *os.File, name string) error {
	from := "/proc/self/fd/" + strconv.Itoa(int(f.Fd()))
	err := unix.Linkat(unix.AT_FDCWD, from, int(dir.Fd()), name, unix.AT_SYMLINK_FOLLOW)
	if err != nil {
		return &os.LinkError{Op: "linkat", Old: from, New: name, Err: err}
	}
	return nil
}

// topFolder is FS_TOPDIR_FL, which ext2 to ext4 know: the folders in it are not
// related.
const topFolder = 0x00020000

// spreadFolders asks the file system to place the folders that will be made in
// dir far from one another, and from what others make and remove next to it.
// Where a new inode's group is full of removed ones ext4 looks at each of them.
// It is a hint; most other file systems have none of the kind.
func spreadFolders(dir *os.File) {
	flags, err := unix.IoctlGetInt(int(dir.Fd()), unix.FS_IOC_GETFLAGS)
	if err == nil && flags&topFolder == 0 {
		unix.IoctlSetPointerInt(int(dir.Fd()), unix.FS_IOC_SETFLAGS, flags|topFolder) //nolint:errcheck // as said
	}
}

// startWriteBack sends a range to the disk without waiting for it. Whether it
// got there is what the sync at the end tells.
func startWriteBack(f *os.File, off, n int64) {
	unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE) //nolint:errcheck // as said
}

// endDirect lets a file opened for direct writes take unaligned ones.
func endDirect(f *os.File) error {
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_SETFL, flags&^unix.O_DIRECT)
	}
	return os.NewSyscallError("fcntl", err)
}

// openBeneath opens a file for reading, as root.Open does, by one system call
// instead of one per folder. Where there is none of that kind, or it was
// disturbed, root does it.
func openBeneath(root *os.Root, base *os.File, name string) (*os.File, error) {
	fd, err := unix.Openat2(int(base.Fd()), name, &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
	})
	switch err {
	case nil:
		return os.NewFile(uintptr(fd), name), nil
	case unix.ENOENT:
		return nil, &os.PathError{Op: "openat2", Path: name, Err: err}
	}
	return root.Open(name)
}
