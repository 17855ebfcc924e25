package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// FS_IOC_SHUTDOWN of ext4, and the flag by which it does not flush its journal.
const (
	ioctlShutdown = 0x8004587d
	noLogFlush    = 2
)

func shutDown(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	flags := uint32(noLogFlush)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), ioctlShutdown, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		return fmt.Errorf("shut down the file system of %s: %w", dir, errno)
	}
	return nil
}

func freeBytes(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return int64(s.Bavail) * s.Bsize, nil
}

// memory is a file system that has no disk under it.
const memory = "/dev/shm"

// ImageDir returns a directory for the files of disks of so many bytes together:
// in memory if there is room for twice as much, so that what is measured does not
// hang on how busy this machine's own disk is, else the one given.
func ImageDir(dir string, size int64) string {
	if free, err := freeBytes(memory); err == nil && free >= 2*size {
		return memory
	}
	return dir
}

// allocate makes a file of so many bytes, or as many as there is room for: the
// file system needs some for itself.
func allocate(f *os.File, size int64) error {
	const block = 4 << 10
	var have int64
	for chunk := int64(16 << 20); have < size && chunk >= block; {
		switch err := unix.Fallocate(int(f.Fd()), 0, have, min(chunk, size-have)); {
		case err == nil:
			have += min(chunk, size-have)
		case errors.Is(err, unix.ENOSPC):
			chunk /= 2
		default:
			return fmt.Errorf("fill %s: %w", f.Name(), err)
		}
	}
	return nil
}

// Lacks says why there can be no disks here, "" if there can.
func Lacks(ctx context.Context) string {
	if os.Geteuid() != 0 {
		return "loop devices need root"
	}
	for _, program := range []string{"losetup", "mkfs.ext4", "mount", "umount"} {
		if _, err := exec.LookPath(program); err != nil {
			return program + " is not installed"
		}
	}
	dir, err := os.MkdirTemp("", "disk-")
	if err != nil {
		return err.Error()
	}
	defer func() { _ = os.RemoveAll(dir) }()
	d, err := New(ctx, filepath.Join(dir, "probe"), filepath.Join(dir, "image"), 16<<20)
	if err != nil {
		return err.Error()
	}
	if err := d.Close(); err != nil {
		return err.Error()
	}
	return ""
}
