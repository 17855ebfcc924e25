package wire

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
)

// Network is a set of namespaces. Its methods may be called concurrently.
type Network struct {
	board   *switchboard
	subnet  byte
	readers sync.WaitGroup

	mu    sync.Mutex
	names []string
	files []*os.File
	last  byte
}

// Host is the name of the machine itself.
const Host = ""

// New makes a network that has only this machine in it, on a subnet of 10.213.
// that no interface has. The seed decides which packets are lost.
func New(ctx context.Context, seed uint64) (*Network, error) {
	n := &Network{board: newSwitchboard(seed)}
	if err := n.findSubnet(ctx); err != nil {
		return nil, fmt.Errorf("network: %w", err)
	}
	if _, err := n.attach(ctx, Host); err != nil {
		return nil, errors.Join(fmt.Errorf("network: %w", err), n.Close())
	}
	return n, nil
}

func (n *Network) findSubnet(ctx context.Context) error {
	taken, err := runIP(ctx, "-o", "-4", "address")
	if err != nil {
		return err
	}
	spaces, err := runIP(ctx, "netns", "list")
	if err != nil {
		return err
	}
	for n.subnet = 1; n.subnet < 255; n.subnet++ {
		if !strings.Contains(taken, fmt.Sprintf(" 10.213.%d.", n.subnet)) && !strings.Contains(spaces, fmt.Sprintf("kvnet%d-", n.subnet)) {
			return nil
		}
	}
	return errors.New("every subnet of 10.213. is taken")
}

// Attach makes a namespace of that name. It returns the address in it, and the
// command that runs another one there.
func (n *Network) Attach(ctx context.Context, name string) (address string, enter []string, err error) {
	address, err = n.attach(ctx, name)
	if err != nil {
		return "", nil, fmt.Errorf("namespace of %s: %w", name, err)
	}
	return address, []string{"nsenter", "--net=/run/netns/" + n.namespace(name), "--"}, nil
}

func (n *Network) namespace(name string) string { return fmt.Sprintf("kvnet%d-%s", n.subnet, name) }

func (n *Network) attach(ctx context.Context, name string) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last++
	p := &port{name: name, address: [4]byte{10, 213, n.subnet, n.last}}
	address := fmt.Sprintf("10.213.%d.%d", n.subnet, n.last)
	device := fmt.Sprintf("kvnet%d-%d", n.subnet, n.last)
	f, err := openTUN(device)
	if err != nil {
		return "", err
	}
	n.files = append(n.files, f)
	ip := []string{}
	if name != Host {
		space := n.namespace(name)
		if _, err := runIP(ctx, "netns", "add", space); err != nil {
			return "", err
		}
		n.names = append(n.names, space)
		if _, err := runIP(ctx, "link", "set", device, "netns", space); err != nil {
			return "", err
		}
		ip = []string{"-n", space}
	}
	for _, args := range [][]string{
		{"address", "add", address + "/24", "dev", device},
		{"link", "set", device, "mtu", "9000", "up"},
		{"link", "set", "lo", "up"},
	} {
		if _, err := runIP(ctx, append(ip, args...)...); err != nil {
			return "", err
		}
	}
	p.write = f.Write
	n.board.add(p)
	n.readers.Go(func() { n.read(f, p) })
	return address, nil
}

const maxPacket = 1 << 16

// read carries what comes from a port, until its device is closed.
func (n *Network) read(f *os.File, p *port) {
	buf := make([]byte, maxPacket)
	for {
		size, err := f.Read(buf)
		if err != nil {
			return
		}
		n.board.carry(p, buf[:size])
	}
}

// Shape sets what happens to packets from one name to another.
func (n *Network) Shape(from, to string, s Shape) error {
	if !n.board.shape(from, to, &s) {
		return fmt.Errorf("there is no link from %q to %q", from, to)
	}
	return nil
}

// Mend undoes all Shape, and returns how many packets that has met since the
// last time.
func (n *Network) Mend() int64 { return n.board.mend() }

// Close removes everything. Processes in the namespaces must have ended.
func (n *Network) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var errs []error
	for _, f := range n.files {
		errs = append(errs, f.Close())
	}
	n.readers.Wait()
	if n.files != nil {
		n.board.close()
	}
	for _, name := range n.names {
		_, err := runIP(context.Background(), "netns", "delete", name)
		errs = append(errs, err)
	}
	n.files, n.names = nil, nil
	return errors.Join(errs...)
}

// Lacks says why there can be no networks here, "" if there can.
func Lacks(ctx context.Context) string {
	if os.Geteuid() != 0 {
		return "network namespaces need root"
	}
	for _, program := range []string{"ip", "nsenter"} {
		if _, err := exec.LookPath(program); err != nil {
			return program + " is not installed"
		}
	}
	n, err := New(ctx, 0)
	if err == nil {
		_, _, err = n.Attach(ctx, "probe")
		err = errors.Join(err, n.Close())
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// runIP runs ip(8) and returns what it prints.
func runIP(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "ip", args...).Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return "", fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(exit.Stderr)))
	}
	return string(out), err
}
