package disk

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func open(t *testing.T) *Disk {
	t.Helper()
	if why := Lacks(t.Context()); why != "" {
		t.Skip(why)
	}
	dir := t.TempDir()
	d, err := New(t.Context(), filepath.Join(dir, "disk"), filepath.Join(dir, "image"), 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// What was synced survives a power cut; what was written and not synced, be it
// by write or by a mapping, does not.
func TestPowerCut(t *testing.T) {
	d := open(t)
	content := bytes.Repeat([]byte("content "), 1<<10)
	write := func(name string, sync bool) *os.File {
		t.Helper()
		f, err := os.Create(filepath.Join(d.Dir, name))
		if err == nil {
			_, err = f.Write(content)
		}
		if err == nil && sync {
			err = f.Sync()
		}
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	synced, forgotten := write("synced", true), write("forgotten", false)
	if _, err := synced.WriteAt([]byte("changed"), 0); err != nil {
		t.Fatal(err)
	}
	if err := d.Fail(); err != nil {
		t.Fatal(err)
	}
	if err := synced.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("sync of a failed disk: %v", err)
	}
	if _, err := os.Create(filepath.Join(d.Dir, "new")); err == nil {
		t.Error("a failed disk takes files")
	}
	if err := errors.Join(synced.Close(), forgotten.Close()); err != nil {
		t.Fatal(err)
	}
	if err := d.Unmount(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.Mount(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(d.Dir, "synced")); err != nil || !bytes.Equal(got, content) {
		t.Errorf("what was synced: %.20q, %v", got, err)
	}
	if got, err := os.ReadFile(filepath.Join(d.Dir, "forgotten")); err == nil && len(got) > 0 {
		t.Errorf("what was not synced survived: %d bytes", len(got))
	}
}

func TestFull(t *testing.T) {
	d := open(t)
	const left = 8 << 20
	if err := d.Fill(left); err != nil {
		t.Fatal(err)
	}
	if free, err := freeBytes(d.Dir); err != nil || free > left || free < left/2 {
		t.Errorf("%d bytes are free, %v", free, err)
	}
	if err := d.Fill(0); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.Dir, "more"), make([]byte, left), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a full disk took more: %v", err)
	}
	for range 2 {
		if err := d.Free(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(d.Dir, "more"), make([]byte, left), 0o600); err != nil {
		t.Error(err)
	}
}

// What was given back is not taken again by a power cut.
func TestFreeIsDurable(t *testing.T) {
	d := open(t)
	if err := d.Fill(8 << 20); err != nil {
		t.Fatal(err)
	}
	if err := syncDir(d.Dir); err != nil { // else the power cut takes it back as well
		t.Fatal(err)
	}
	if err := errors.Join(d.Free(), d.Fail(), d.Unmount(t.Context()), d.Mount(t.Context())); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(d.Dir, ballast)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after the power cut: %v, want that it is not there", err)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	if why := Lacks(t.Context()); why != "" {
		t.Skip(why)
	}
	dir := t.TempDir()
	d, err := New(t.Context(), filepath.Join(dir, "disk"), filepath.Join(dir, "image"), 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := os.ReadDir(filepath.Join(dir, "disk")); err != nil || len(left) > 0 {
		t.Errorf("still mounted: %v, %v", left, err)
	}
	if _, err := os.Stat(d.image); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the image is still there: %v", err)
	}
	if _, err := New(t.Context(), filepath.Join(dir, "tiny"), filepath.Join(dir, "tiny.img"), 1); err == nil {
		t.Error("made a disk of one byte")
	}
	if _, err := os.Stat(filepath.Join(dir, "tiny.img")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the image of a disk that was not made is still there: %v", err)
	}
}
