// Command kvnode runs one node of the distributed key-value service.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
)

// gcPercent is what GOGC is when it is not set. Half of what is usual spares a
// node a third of its heap, most of which is Badger's, and costs less than one
// percent of its time.
const gcPercent = 50

// blockedThreads are so many that wait in system calls for most of the time, as
// the loop that serves Redis clients does. Until Go's monitor notices that, such
// a thread keeps a processor's share to itself. Go does not follow changes of the
// processor limit of a container any more then.
const blockedThreads = 1

func main() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + blockedThreads)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
