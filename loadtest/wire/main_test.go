package wire

import (
	"net"
	"os"
	"testing"
)

// TestMain is also a server in a namespace: it answers each byte that comes by a
// connection with the same byte.
func TestMain(m *testing.M) {
	address := os.Getenv("ECHO_AT")
	if address == "" {
		os.Exit(m.Run())
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		os.Exit(1)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			os.Exit(1)
		}
		go func() {
			defer c.Close()
			for b := make([]byte, 1); ; {
				if _, err := c.Read(b); err != nil {
					return
				}
				if _, err := c.Write(b); err != nil {
					return
				}
			}
		}()
	}
}
