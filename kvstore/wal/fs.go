package wal

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// FS is what the log needs of a file system. It exists so that tests can
// inject faults and crashes. Names are full paths.
type FS interface {
	// MkdirAll creates dir and its parents, durably.
	MkdirAll(dir string) error
	// List returns the names of the files in dir, without the directory.
	List(dir string) ([]string, error)
	// Open opens a file for reading and writing; it creates the file if
	// create is set.
	Open(name string, create bool) (File, error)
	// Rename and Remove are durable after SyncDir.
	Rename(from, to string) error
	Remove(name string) error
	SyncDir(dir string) error
	// Free returns the bytes that may still be written to the file system of
	// dir.
	Free(dir string) (uint64, error)
}

// File is an open file of an [FS].
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	Truncate(size int64) error
	// Sync makes the content and the size durable; nothing else of the
	// metadata need be.
	Sync() error
	// WriteSync writes p over what the file has at off, and makes that
	// durable. Both off and the length of p are multiples of [sector]. One
	// call at a time writes to the file.
	WriteSync(p []byte, off int64) error
}

// OS is the file system of the operating system.
var OS FS = osFS{}

type osFS struct{}

func (fs osFS) MkdirAll(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := fs.MkdirAll(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return fs.SyncDir(parent)
}

func (osFS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

func (osFS) Open(name string, create bool) (File, error) {
	flags := os.O_RDWR
	if create {
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(name, flags, 0o600)
	if err != nil {
		return nil, err
	}
	return &osFile{File: f, direct: openDirect(name)}, nil
}

func (osFS) Rename(from, to string) error { return os.Rename(from, to) }

func (osFS) Remove(name string) error { return os.Remove(name) }

func (osFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (osFS) Free(dir string) (uint64, error) { return freeBytes(dir) }

// osFile is an open file, and where the system allows it, the same file opened
// to be written without the page cache.
type osFile struct {
	*os.File
	direct *os.File
}

func (f *osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f *osFile) Sync() error { return syncData(f.File) }

func (f *osFile) WriteSync(p []byte, off int64) error {
	if f.direct != nil && len(p) <= maxDirect {
		written, err := writeDirect(f.direct, p, off)
		if written || err != nil {
			return err
		}
		err = f.direct.Close() // this file system, or this disk, does not have it
		f.direct = nil
		if err != nil {
			return err
		}
	}
	if _, err := f.WriteAt(p, off); err != nil {
		return err
	}
	return f.Sync()
}

func (f *osFile) Close() error {
	err := f.File.Close()
	if f.direct != nil {
		err = errors.Join(err, f.direct.Close())
	}
	return err
}
