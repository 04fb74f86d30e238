package component

import "syscall"

// ownGroup puts a process into a group of its own and ends it with us, however
// we end.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
