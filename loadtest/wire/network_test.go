package wire

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// echo exchanges a byte on a new connection.
func echo(ctx context.Context, address string) error {
	var d net.Dialer
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte{7}); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 1))
	return err
}

func TestNamespaces(t *testing.T) {
	if why := Lacks(t.Context()); why != "" {
		t.Skip(why)
	}
	n, err := New(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	host, enter, err := n.Attach(t.Context(), "a")
	if err != nil {
		t.Fatal(errors.Join(err, n.Close()))
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	address := net.JoinHostPort(host, "7777")
	server := exec.Command(enter[0], append(enter[1:], self)...)
	server.Env = append(os.Environ(), "ECHO_AT="+address)
	if err := server.Start(); err != nil {
		t.Fatal(errors.Join(err, n.Close()))
	}
	defer func() {
		_ = server.Process.Kill()
		_ = server.Wait()
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		left, err := runIP(context.Background(), "netns", "list")
		if err != nil || strings.Contains(left, n.namespace("a")) {
			t.Errorf("the namespace is still there: %s, %v", left, err)
		}
	}()
	deadline := time.Now().Add(20 * time.Second)
	for err = echo(t.Context(), address); err != nil && time.Now().Before(deadline); {
		err = echo(t.Context(), address)
	}
	if err != nil {
		t.Fatalf("the machine does not reach the namespace: %v", err)
	}
	if err := n.Shape("a", "", Shape{Cut: true}); err != nil {
		t.Fatal(err)
	}
	if echo(t.Context(), address) == nil {
		t.Error("an answer came over a link that is cut")
	}
	if n.Mend() == 0 {
		t.Error("the cut met no packet")
	}
	if err := echo(t.Context(), address); err != nil {
		t.Errorf("mended: %v", err)
	}
	if err := n.Shape("a", "b", Shape{}); err == nil {
		t.Error("shaped a link that does not exist")
	}
}
