// Package driver has clusters in its hands, for package nemesis: of processes on
// the loopback interface, of processes in network namespaces, and of containers.
package driver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/client"
	"github.com/skshohagmiah/clusterkit/loadtest/disk"
	"github.com/skshohagmiah/clusterkit/loadtest/localcluster"
	"github.com/skshohagmiah/clusterkit/loadtest/nemesis"
	"github.com/skshohagmiah/clusterkit/loadtest/wallclock"
	"github.com/skshohagmiah/clusterkit/loadtest/wire"
)

// Options describe a cluster of processes.
type Options struct {
	// Binary is the path of kvnode.
	Binary string
	// Nodes is their number. Default 3.
	Nodes int
	// Dir receives data and logs.
	Dir string
	// Env is added to the environment of every node, as NAME=value.
	Env []string
	// Namespaces gives each node one of its own, with a network between them that
	// can be cut.
	Namespaces bool
	// Seed decides which packets a network loses.
	Seed uint64
	// Log is told what happens to the processes. Default: silent.
	Log *slog.Logger
}

// Processes is a cluster of processes on this machine.
type Processes struct {
	options Options
	cluster *localcluster.Cluster
	network *wire.Network
	// noDisks and noNetwork say why there are none.
	noDisks, noNetwork string

	mu     sync.Mutex
	disks  map[string]*disk.Disk
	clocks map[int]*wallclock.Clock
}

const usualNodes = 3

// diskBytes is more than a node's log, its reserve and what a test writes.
const diskBytes = 1 << 30

// Start starts a cluster. Each node has a disk of its own where that is possible.
// The caller must Close it.
func Start(ctx context.Context, o Options) (*Processes, error) {
	if o.Nodes == 0 {
		o.Nodes = usualNodes
	}
	raisePriority()
	p := &Processes{
		options: o, disks: map[string]*disk.Disk{}, clocks: map[int]*wallclock.Clock{},
		noDisks: disk.Lacks(ctx), noNetwork: "processes on the loopback interface share it: use network namespaces",
	}
	if err := p.start(ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (p *Processes) start(ctx context.Context) error {
	if p.options.Namespaces {
		if why := wire.Lacks(ctx); why != "" {
			return fmt.Errorf("network namespaces cannot be used: %s", why)
		}
		network, err := wire.New(ctx, p.options.Seed)
		if err != nil {
			return err
		}
		p.network, p.noNetwork = network, ""
	}
	o := p.options
	if o.Namespaces {
		o.Env = append(slices.Clone(o.Env), "INSECURE=true") // nobody else is on that network
	}
	cluster, err := localcluster.Start(ctx, localcluster.Options{
		Binary: o.Binary, Nodes: o.Nodes, Dir: o.Dir, Env: o.Env, Log: o.Log,
		Place: func(id string) (localcluster.Place, error) { return p.place(ctx, id) },
	})
	if err != nil {
		return err
	}
	p.cluster = cluster
	return cluster.WaitInSync(ctx)
}

// place gives a node what it has for itself.
func (p *Processes) place(ctx context.Context, id string) (localcluster.Place, error) {
	var place localcluster.Place
	if p.noDisks == "" {
		image := fmt.Sprintf("kvdisk-%d-%s.img", os.Getpid(), id)
		images := disk.ImageDir(p.options.Dir, int64(p.options.Nodes+1)*diskBytes)
		d, err := disk.New(ctx, filepath.Join(p.options.Dir, id), filepath.Join(images, image), diskBytes)
		if err != nil {
			return place, err
		}
		p.mu.Lock()
		if old := p.disks[id]; old != nil {
			err = old.Close()
		}
		p.disks[id] = d
		p.mu.Unlock()
		if err != nil {
			return place, err
		}
		place.DataDir = filepath.Join(d.Dir, "data")
	}
	if p.network != nil {
		var err error
		if place.Host, place.Enter, err = p.network.Attach(ctx, id); err != nil {
			return place, err
		}
	}
	return place, nil
}

// Close ends all processes and removes networks and disks; what was on disks is
// gone then. Logs are kept.
func (p *Processes) Close() error {
	var errs []error
	if p.cluster != nil {
		p.cluster.Close()
	}
	for _, d := range p.disks {
		errs = append(errs, d.Close())
	}
	if p.network != nil {
		errs = append(errs, p.network.Close())
	}
	p.disks, p.network = nil, nil
	return errors.Join(errs...)
}

// Cluster returns the processes, for what package nemesis has no word for.
func (p *Processes) Cluster() *localcluster.Cluster { return p.cluster }

// Endpoints returns the HTTP addresses of the nodes.
func (p *Processes) Endpoints() []string { return p.cluster.Endpoints() }

// Logs returns the files that the nodes write their logs to, by their IDs, those
// of nodes that have left included.
func (p *Processes) Logs(context.Context) (map[string]string, error) {
	logs := map[string]string{}
	for _, n := range p.cluster.Nodes() {
		logs[n.ID] = n.LogFile
	}
	return logs, nil
}

// Nodes returns the IDs of the nodes that belong to the cluster.
func (p *Processes) Nodes() []string {
	var ids []string
	for _, n := range p.cluster.Nodes() {
		if !n.HasLeft() {
			ids = append(ids, n.ID)
		}
	}
	return ids
}

// Status returns the cluster as a living node sees it.
func (p *Processes) Status(ctx context.Context) (*client.Status, error) { return p.cluster.Status(ctx) }

// AwaitInSync waits until every node runs and every copy is in sync.
func (p *Processes) AwaitInSync(ctx context.Context) error { return p.cluster.WaitInSync(ctx) }

// Lacks says why something cannot be done here.
func (p *Processes) Lacks(m nemesis.Means) string {
	switch m {
	case nemesis.Cutting, nemesis.Shaping, nemesis.Isolating:
		return p.noNetwork
	case nemesis.PowerCuts, nemesis.Filling, nemesis.Breaking:
		return p.noDisks
	case nemesis.SettingClocks:
		return wallclock.Lacks()
	default:
		return ""
	}
}

// each does something to nodes at the same time.
func (p *Processes) each(nodes []string, do func(i int) error) error {
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for at, id := range nodes {
		i, err := p.cluster.Index(id)
		if err != nil {
			return err
		}
		wg.Go(func() { errs[at] = do(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Kill ends the nodes.
func (p *Processes) Kill(ctx context.Context, nodes ...string) error {
	return p.each(nodes, func(i int) error { return p.cluster.Kill9(ctx, i) })
}

const stopWithin = 30 * time.Second

// Stop asks a node to stop.
func (p *Processes) Stop(ctx context.Context, node string) error {
	ctx, cancel := context.WithTimeout(ctx, stopWithin)
	defer cancel()
	return p.each([]string{node}, func(i int) error { return p.cluster.Stop(ctx, i) })
}

// Start starts nodes again.
func (p *Processes) Start(ctx context.Context, nodes ...string) error {
	return p.each(nodes, func(i int) error { return p.cluster.Restart(ctx, i) })
}

// Running reports whether a node's process runs.
func (p *Processes) Running(node string) bool {
	i, err := p.cluster.Index(node)
	return err == nil && p.cluster.Nodes()[i].Running()
}

// Pause lets nodes stand still.
func (p *Processes) Pause(nodes ...string) error { return p.each(nodes, p.cluster.Pause) }

// Resume lets them go on.
func (p *Processes) Resume(nodes ...string) error { return p.each(nodes, p.cluster.Continue) }

// Jump sets the clock of a node.
func (p *Processes) Jump(node string, by time.Duration) error {
	return p.each([]string{node}, func(i int) error {
		pid := p.cluster.Nodes()[i].PID()
		p.mu.Lock()
		defer p.mu.Unlock()
		c, ok := p.clocks[pid]
		if !ok {
			var err error
			if c, err = wallclock.Open(pid); err != nil {
				return err
			}
			p.clocks[pid] = c
		}
		return c.Set(c.Offset() + by)
	})
}

// Cut drops every packet on links.
func (p *Processes) Cut(links ...nemesis.Link) error { return p.shape(wire.Shape{Cut: true}, links) }

// Shape worsens links.
func (p *Processes) Shape(s nemesis.Shape, links ...nemesis.Link) error {
	return p.shape(wire.Shape{Delay: s.Delay, Loss: s.Loss, Reorder: s.Reorder}, links)
}

func (p *Processes) shape(s wire.Shape, links []nemesis.Link) error {
	for _, l := range links {
		if err := p.network.Shape(l.From, l.To, s); err != nil {
			return err
		}
	}
	return nil
}

// Isolate cuts a node off from the others and from this machine.
func (p *Processes) Isolate(_ context.Context, node string) error {
	return p.shape(wire.Shape{Cut: true}, p.around(node))
}

// Unite undoes it.
func (p *Processes) Unite(context.Context, string) error {
	_, err := p.Mend()
	return err
}

// around returns all links of a node, those to the machine included.
func (p *Processes) around(node string) []nemesis.Link {
	links := []nemesis.Link{{From: node, To: wire.Host}, {From: wire.Host, To: node}}
	for _, n := range p.Nodes() {
		if n != node {
			links = append(links, nemesis.Link{From: node, To: n}, nemesis.Link{From: n, To: node})
		}
	}
	return links
}

// Mend undoes Cut and Shape.
func (p *Processes) Mend() (int64, error) { return p.network.Mend(), nil }

// NamespacesLack says why nodes cannot have namespaces, "" if they can.
func NamespacesLack(ctx context.Context) string { return wire.Lacks(ctx) }
