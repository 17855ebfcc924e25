package driver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/skshohagmiah/clusterkit/loadtest/disk"
	"github.com/skshohagmiah/clusterkit/loadtest/nemesis"
)

// disk returns that of a node.
func (p *Processes) disk(node string) (*disk.Disk, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d, ok := p.disks[node]
	if !ok {
		return nil, fmt.Errorf("%s has no disk of its own", node)
	}
	return d, nil
}

// CutPower ends nodes, and has their disks forget what was not synced.
func (p *Processes) CutPower(ctx context.Context, nodes ...string) error {
	// Nobody may see that a disk has failed: with the power that is gone too.
	if err := p.Pause(nodes...); err != nil {
		return err
	}
	failed := p.eachDisk(nodes, func(d *disk.Disk) error { return d.Fail() })
	if err := errors.Join(failed, p.Kill(ctx, nodes...)); err != nil {
		return err
	}
	return p.eachDisk(nodes, func(d *disk.Disk) error { return remount(ctx, d) })
}

func (p *Processes) eachDisk(nodes []string, do func(*disk.Disk) error) error {
	return p.each(nodes, func(i int) error {
		d, err := p.disk(p.cluster.Nodes()[i].ID)
		if err != nil {
			return err
		}
		return do(d)
	})
}

// remount takes a disk away and brings it back, with what was synced.
func remount(ctx context.Context, d *disk.Disk) error {
	if err := d.Unmount(ctx); err != nil {
		return err
	}
	return d.Mount(ctx)
}

// Fill takes the free space of a node's disk.
func (p *Processes) Fill(node string, but int64) error {
	return p.eachDisk([]string{node}, func(d *disk.Disk) error { return d.Fill(but) })
}

// Free gives it back.
func (p *Processes) Free(node string) error {
	return p.eachDisk([]string{node}, (*disk.Disk).Free)
}

// endsWithin is how soon a node must notice that its disk fails, and end.
const endsWithin = 20 * time.Second

// Break has a node's disk fail.
func (p *Processes) Break(ctx context.Context, node string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, endsWithin, fmt.Errorf("it took longer than %v", endsWithin))
	defer cancel()
	return p.each([]string{node}, func(i int) error {
		d, err := p.disk(node)
		if err != nil {
			return err
		}
		if err := d.Fail(); err != nil {
			return err
		}
		if err := p.cluster.AwaitEnd(ctx, i); err != nil {
			return errors.Join(err, p.cluster.Kill9(context.WithoutCancel(ctx), i))
		}
		return nil
	})
}

// Repair brings a disk back.
func (p *Processes) Repair(ctx context.Context, node string) error {
	return p.eachDisk([]string{node}, func(d *disk.Disk) error { return remount(ctx, d) })
}

// Wipe removes what a node keeps.
func (p *Processes) Wipe(node string) error {
	return p.each([]string{node}, func(i int) error { return p.cluster.Wipe(i) })
}

// Where a node keeps its data.
var places = map[nemesis.Part]string{
	nemesis.Log:   "kv/log/*.wal",
	nemesis.Table: "kv/data/*.sst",
}

// Damage flips bits of a file. Of a log it takes the first half: what is damaged
// at its very end cannot be told from a write that was under way.
func (p *Processes) Damage(node string, part nemesis.Part, random *rand.Rand) (string, error) {
	i, err := p.cluster.Index(node)
	if err != nil {
		return "", err
	}
	files, err := filepath.Glob(filepath.Join(p.cluster.Nodes()[i].DataDir, places[part]))
	if err != nil || len(files) == 0 {
		return "", errors.Join(err, nemesis.ErrNoPlace)
	}
	slices.Sort(files)
	file := files[0]
	content, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	end := len(content)
	for end > 0 && content[end-1] == 0 {
		end--
	}
	if end < smallest {
		return "", nemesis.ErrNoPlace
	}
	at := end/4 + random.IntN(end/4)
	for i := at; i < at+damaged; i++ {
		content[i] ^= byte(1 + random.IntN(255))
	}
	return fmt.Sprintf("%s of %s at %d", filepath.Base(file), node, at), os.WriteFile(file, content, 0o600)
}

// damaged is how many bytes are flipped, of a file that has smallest at least.
const (
	damaged  = 16
	smallest = 1 << 10
)
