package target

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// reachWithin bounds how long the nodes of a store are looked for.
const reachWithin = 3 * time.Second

// reach returns ErrUnreachable, and why, unless one of the endpoints takes
// connections.
func reach(ctx context.Context, endpoints []string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, reachWithin, fmt.Errorf("no answer in %v", reachWithin))
	defer cancel()
	var (
		reached atomic.Bool
		dialing sync.WaitGroup
	)
	errs := make([]error, len(endpoints))
	for i, addr := range endpoints {
		dialing.Go(func() {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
			switch {
			case err == nil:
				_ = conn.Close()
				reached.Store(true)
				cancel() // one is enough
			case ctx.Err() != nil:
				errs[i] = fmt.Errorf("%s: %w", addr, context.Cause(ctx))
			default:
				errs[i] = err
			}
		})
	}
	dialing.Wait()
	if reached.Load() {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, errors.Join(errs...))
}
