package localcluster

import "syscall"

// procAttr keeps the terminal's Ctrl-C from the nodes, and lets them die with
// this process. The kernel means the thread that forked; Go ends threads only
// under goroutines that are locked to them, and we have none.
func procAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
