//go:build !linux

package driver

func raisePriority() {}
