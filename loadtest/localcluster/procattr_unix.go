//go:build unix && !linux

package localcluster

import "syscall"

// procAttr keeps the terminal's Ctrl-C from the nodes.
func procAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
