package wal

import (
	"errors"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// syncData is fdatasync(2): it leaves out the time stamps, whose journal
// commit an fsync would wait for.
func syncData(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

const (
	// maxDirect is the most that is written without the page cache at once:
	// what is larger has to be copied for longer than that spares.
	maxDirect = 256 << 10
	// directAlign is what an address in memory must be a multiple of.
	directAlign = 4 << 10
)

// openDirect opens a file to be written without the page cache, which takes two
// thirds of the CPU time of a write and an fdatasync. It returns nil where that
// cannot be, or where a write may ignore that it is to be durable: FUSE and 9p
// take the flag and flush nothing.
func openDirect(name string) *os.File {
	f, err := os.OpenFile(name, os.O_WRONLY|unix.O_DIRECT, 0)
	if err != nil {
		return nil
	}
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &s); err != nil || s.Type != unix.EXT4_SUPER_MAGIC && s.Type != unix.XFS_SUPER_MAGIC {
		_ = f.Close() // nothing was written
		return nil
	}
	return f
}

// directBuffers are of maxDirect bytes, aligned.
var directBuffers = sync.Pool{New: func() any {
	b := make([]byte, maxDirect+directAlign)
	shift := -uintptr(unsafe.Pointer(&b[0])) % directAlign
	return (*[maxDirect]byte)(b[shift:])
}}

// writeDirect writes p and makes it durable with one call. It reports false if
// the system or the disk does not offer that, or not at this alignment, or if
// it has written a part only: all of p is then to be written again.
func writeDirect(f *os.File, p []byte, off int64) (written bool, err error) {
	buf := directBuffers.Get().(*[maxDirect]byte)
	defer directBuffers.Put(buf)
	n := copy(buf[:], p)
	for {
		done, err := unix.Pwritev2(int(f.Fd()), [][]byte{buf[:n]}, off, unix.RWF_DSYNC)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM):
			return false, nil
		case err != nil:
			return true, os.NewSyscallError("pwritev2", err)
		}
		return done == n, nil
	}
}

func freeBytes(dir string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, os.NewSyscallError("statfs", err)
	}
	return s.Bavail * uint64(s.Bsize), nil
}
