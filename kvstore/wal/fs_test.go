package wal

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"
)

// TestWriteSyncOverwrites writes sectors over others, with and without the page
// cache, and reads them and their neighbours through it.
func TestWriteSyncOverwrites(t *testing.T) {
	for _, size := range []int{sector, 3 * sector, 64 << 10, maxDirect + sector} {
		for _, direct := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d bytes, direct %v", size, direct), func(t *testing.T) {
				opened, err := OS.Open(filepath.Join(t.TempDir(), "file"), true)
				if err != nil {
					t.Fatal(err)
				}
				f := opened.(*osFile)
				defer func() { _ = f.Close() }()
				if f.direct == nil && direct {
					t.Skip("not on this file system")
				}
				if f.direct != nil && !direct {
					if err := f.direct.Close(); err != nil {
						t.Fatal(err)
					}
					f.direct = nil
				}
				want := bytes.Repeat([]byte("old "), (size+4*sector)/4)
				if _, err := f.WriteAt(want, 0); err != nil {
					t.Fatal(err)
				}
				got := make([]byte, len(want))
				if _, err := f.ReadAt(got, 0); err != nil { // now the page cache has it
					t.Fatal(err)
				}
				for _, off := range []int64{sector, 3 * sector} {
					data := bytes.Repeat([]byte("new"), size)[:size]
					copy(want[off:], data)
					if err := f.WriteSync(data, off); err != nil {
						t.Fatal(err)
					}
					if _, err := f.ReadAt(got, 0); err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(got, want) {
						t.Fatalf("after a write at %d the file is not as expected", off)
					}
				}
				if direct && f.direct == nil {
					t.Error("it was given up")
				}
			})
		}
	}
}

// TestWriteSyncFallsBack writes what O_DIRECT does not take: half a sector.
func TestWriteSyncFallsBack(t *testing.T) {
	opened, err := OS.Open(filepath.Join(t.TempDir(), "file"), true)
	if err != nil {
		t.Fatal(err)
	}
	f := opened.(*osFile)
	defer func() { _ = f.Close() }()
	if f.direct == nil {
		t.Skip("not on this file system")
	}
	for range 2 {
		if err := f.WriteSync([]byte("half"), 100); err != nil {
			t.Fatal(err)
		}
	}
	got := make([]byte, 4)
	if _, err := f.ReadAt(got, 100); err != nil || string(got) != "half" {
		t.Errorf("the file has %q, %v", got, err)
	}
	if f.direct != nil {
		t.Error("the next write would try it again")
	}
}
