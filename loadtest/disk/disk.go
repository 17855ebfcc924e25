// Package disk gives each node a small disk of its own: an ext4 file system on a
// loop device. It can run full, break, and lose its power.
//
// A power cut is the file system's own emergency shutdown, without a flush of its
// journal: whatever has been written and not synced is forgotten, whoever wrote
// it and however, and the next mount finds what a machine finds after its power
// went. Two things are milder than on a real disk. The file under the loop
// device has no volatile cache, so what the kernel has handed to it stays even if
// it was not flushed; and sectors do not tear.
//
// It needs root and loop devices, and nothing of it exists but on Linux.
package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Disk is one disk, mounted at Dir. Its methods may not be called concurrently.
type Disk struct {
	// Dir is where it is mounted.
	Dir string

	image  string
	device string
	up     bool
}

const ballast = "ballast"

// New makes a disk of so many bytes, which is the file image, and mounts it at
// dir, which it makes.
func New(ctx context.Context, dir, image string, size int64) (*Disk, error) {
	d := &Disk{Dir: dir, image: image}
	if err := d.create(ctx, size); err != nil {
		return nil, errors.Join(fmt.Errorf("disk %s: %w", dir, err), d.Close())
	}
	return d, nil
}

func (d *Disk) create(ctx context.Context, size int64) error {
	if err := os.MkdirAll(d.Dir, 0o755); err != nil {
		return err
	}
	f, err := os.Create(d.image)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return err
	}
	device, err := command(ctx, "losetup", "--find", "--show", d.image)
	if err != nil {
		return err
	}
	d.device = device
	if _, err := command(ctx, "mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", d.device); err != nil {
		return err
	}
	return d.Mount(ctx)
}

// Mount mounts the disk again. It is a mistake only if it is mounted.
func (d *Disk) Mount(ctx context.Context) error {
	if _, err := command(ctx, "mount", "-t", "ext4", d.device, d.Dir); err != nil {
		return err
	}
	d.up = true
	return nil
}

// Fail has every write and every sync fail from now on, and what has not been
// synced is lost. Reads of what is in memory go on.
func (d *Disk) Fail() error { return shutDown(d.Dir) }

// Unmount takes a disk away that nobody uses any more.
func (d *Disk) Unmount(ctx context.Context) error {
	if !d.up {
		return nil
	}
	if _, err := command(ctx, "umount", d.Dir); err != nil {
		return err
	}
	d.up = false
	return nil
}

// Fill takes the free space but for so many bytes.
func (d *Disk) Fill(but int64) error {
	if err := d.Free(); err != nil {
		return err
	}
	free, err := freeBytes(d.Dir)
	if err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(d.Dir, ballast))
	if err != nil {
		return err
	}
	return errors.Join(allocate(f, free-but), f.Close())
}

// Free gives back what Fill has taken, durably.
func (d *Disk) Free() error {
	err := os.Remove(filepath.Join(d.Dir, ballast))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(d.Dir)
}

func syncDir(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Close removes the disk and all that is on it. Nobody may use it any more.
func (d *Disk) Close() error {
	ctx := context.Background()
	err := d.Unmount(ctx)
	if d.device != "" {
		_, detach := command(ctx, "losetup", "--detach", d.device)
		err = errors.Join(err, detach)
		d.device = ""
	}
	if remove := os.Remove(d.image); !errors.Is(remove, os.ErrNotExist) {
		err = errors.Join(err, remove)
	}
	return err
}

// command runs a program and returns what it prints.
func command(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(exit.Stderr))
	}
	return strings.TrimSpace(string(out)), err
}
