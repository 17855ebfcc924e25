//go:build !linux

package wal

import (
	"math"
	"os"
)

// maxDirect is none: the page cache is left out on Linux only.
const maxDirect = 0

func openDirect(string) *os.File { return nil }

func writeDirect(*os.File, []byte, int64) (bool, error) { return false, nil }

func syncData(f *os.File) error { return f.Sync() }

// freeBytes knows nothing here: the reserve is kept on Linux only.
func freeBytes(string) (uint64, error) { return math.MaxUint64, nil }
