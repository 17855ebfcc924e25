package main

import (
	"net/http"
	"net/http/pprof"
	"runtime"
	"sync"
	"time"
)

const (
	// mutexFraction is how many waits for locks there are for one that is
	// recorded, blockRate the nanoseconds of blocking for one record: so few
	// that they cost nothing that can be measured.
	mutexFraction = 100
	blockRate     = int(time.Millisecond)
)

// serveProfiles serves profiles at /debug/pprof/ until stop is called, and has
// the runtime record where goroutines wait. There is no deadline for answers,
// which take as long as the client asks for.
func serveProfiles(addr string) (stop func(), err error) {
	listener, err := listen("PPROF_ADDR", addr)
	if err != nil {
		return nil, err
	}
	runtime.SetMutexProfileFraction(mutexFraction)
	runtime.SetBlockProfileRate(blockRate)
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) }) // until it is closed
	return func() {
		_ = server.Close() // profiles that are being taken are cut off
		serving.Wait()
	}, nil
}
