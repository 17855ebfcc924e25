//go:build !linux

package disk

import (
	"context"
	"errors"
	"os"
)

func shutDown(string) error           { return errors.ErrUnsupported }
func freeBytes(string) (int64, error) { return 0, errors.ErrUnsupported }
func allocate(*os.File, int64) error  { return errors.ErrUnsupported }

// ImageDir returns a directory for the files of disks.
func ImageDir(dir string, _ int64) string { return dir }

// Lacks says why there can be no disks here.
func Lacks(context.Context) string { return "loop devices are of Linux" }
