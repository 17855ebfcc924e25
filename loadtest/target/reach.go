package target

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// reachWithin bounds how long the nodes of a store are looked for.
const reachWithin = 3 * time.Second

// reach returns ErrUnreachable, and why, unless one of the endpoints takes
// connections.
func reach(ctx context.Context, endpoints []string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, reachWithin, fmt.Errorf("no answer in %v", reachWithin))
	defer cancel()
	failures := make(chan error, len(endpoints))
	for _, addr := range endpoints {
		go func() {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
			if err == nil {
				_ = conn.Close()
			} else if ctx.Err() != nil {
				err = fmt.Errorf("%s: %w", addr, context.Cause(ctx))
			}
			failures <- err
		}()
	}
	var errs []error
	for range endpoints {
		err := <-failures
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, errors.Join(errs...))
}
