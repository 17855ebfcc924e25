package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// Exit codes.
const (
	exitOK             = 0
	exitError          = 1
	exitUsage          = 2
	exitNotFound       = 3 // a key, node or partition, or a condition that failed
	exitUnavailable    = 4 // or timed out, in any case without effect
	exitUnhealthy      = 5
	exitAuthentication = 6
	exitOutcomeUnknown = 7
	exitUnequal        = 8
	exitInterrupted    = 130
)

const exitCodeHelp = `Exit codes:
  0  ok
  1  error
  2  usage
  3  no such key, node or partition, or a condition failed
  4  unavailable or timed out, for certain without effect
  5  the cluster is unhealthy (cluster status)
  6  not authenticated, or not allowed
  7  the outcome of a write is unknown: it may have been executed, or may yet be
  8  copies of a partition are not equal, or could not all be compared (partition verify)
130  interrupted`

var (
	errUsage     = errors.New("usage")
	errUnhealthy = errors.New("the cluster is unhealthy")
	errUnequal   = errors.New("not all copies are certainly equal")
)

// usage makes err, if it is one, an error of usage.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errUsage, err)
}

// exitCode maps the error of a command to the program's exit code. ctx is the
// one that signals end.
func exitCode(ctx context.Context, err error) int {
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errUsage):
		return exitUsage
	case ctx.Err() != nil:
		return exitInterrupted
	case errors.Is(err, api.ErrOutcomeUnknown):
		return exitOutcomeUnknown
	case errors.Is(err, api.ErrNotFound), errors.Is(err, api.ErrConditionFailed):
		return exitNotFound
	case errors.Is(err, api.ErrUnavailable):
		return exitUnavailable
	case errors.Is(err, errUnhealthy):
		return exitUnhealthy
	case errors.Is(err, errUnequal):
		return exitUnequal
	case errors.Is(err, api.ErrUnauthenticated), errors.Is(err, api.ErrForbidden):
		return exitAuthentication
	default:
		return exitError
	}
}
