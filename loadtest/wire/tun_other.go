//go:build !linux

package wire

import (
	"errors"
	"os"
)

func openTUN(string) (*os.File, error) { return nil, errors.ErrUnsupported }
