//go:build !linux

package resp

import "net"

// loop serves many clients from one goroutine, on Linux only.
type loop struct{}

type polled struct{}

func newLoop(*Server) (*loop, error) { return &loop{}, nil }

func (*loop) run()                         {}
func (*loop) stop()                        {}
func (*loop) kill()                        {}
func (*loop) take(net.Conn, int64) *client { return nil }
