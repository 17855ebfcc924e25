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

// Lacks says why there can be no disks here.
func Lacks(context.Context) string { return "loop devices are of Linux" }
