package nemesis

import (
	"context"
	"errors"
)

// How full a disk gets, and what of it is damaged.
const (
	reserve = "reserve"
	full    = "full"

	damagedLog   = "log"
	damagedTable = "table"
)

var diskFaults = []fault{
	{
		name: "powercut", does: "end processes and drop what their disks were not told to sync",
		variants: []string{every, primary},
		needs:    needs(Killing, PowerCuts),
		begin:    cutPower,
	},
	{
		name: "diskfull", does: "fill the disk of the busiest primary to below the reserve, or to the last byte",
		variants: []string{reserve, full},
		needs:    needs(Killing, Filling),
		begin:    fill,
	},
	{
		name: "fsync-error", does: "let a disk answer every write and sync with an error",
		variants: []string{primary, replica},
		needs:    needs(Killing, Breaking),
		begin:    breakDisk,
	},
	{
		name: "wipe", does: "kill a node and give it an empty disk",
		variants: []string{primary, replica}, losesDisk: true,
		needs: needs(Killing, Erasing),
		begin: wipe,
	},
	{
		name: "corrupt", does: "end a node and flip bits of its log, or of a table of Badger",
		variants: []string{damagedLog, damagedTable}, losesDisk: true,
		needs: needs(Killing, Erasing, Damaging),
		begin: corrupt,
	},
}

func cutPower(ctx context.Context, s *scene) error {
	nodes := s.victims()
	s.silence(nodes...)
	s.undo(func(ctx context.Context) error { return s.driver.(Killer).Start(ctx, nodes...) })
	return s.driver.(Power).CutPower(ctx, nodes...)
}

// belowReserve is so little free space that a node refuses writes, but has some
// for itself.
const belowReserve = 64 << 20

func fill(_ context.Context, s *scene) error {
	d, k, node := s.driver.(Space), s.driver.(Killer), s.busiest("")
	s.hit(node)
	s.window.Down = true // writes to its partitions are refused until there is space
	left := int64(belowReserve)
	if s.spec.Variant == full {
		left = 0
	}
	s.undo(func(ctx context.Context) error {
		if err := d.Free(node); err != nil || k.Running(node) {
			return err
		}
		s.note("the node ended")
		return k.Start(ctx, node)
	})
	return d.Fill(node, left)
}

func breakDisk(ctx context.Context, s *scene) error {
	d, node := s.driver.(Breaker), s.victims()[0]
	s.silence(node)
	s.undo(func(ctx context.Context) error {
		if err := d.Repair(ctx, node); err != nil {
			return err
		}
		return s.driver.(Killer).Start(ctx, node)
	})
	return d.Break(ctx, node)
}

func wipe(ctx context.Context, s *scene) error {
	d, k, node := s.driver.(Data), s.driver.(Killer), s.victims()[0]
	s.silence(node)
	s.undo(func(ctx context.Context) error { return k.Start(ctx, node) })
	if err := k.Kill(ctx, node); err != nil {
		return err
	}
	return d.Wipe(node)
}

func corrupt(ctx context.Context, s *scene) error {
	d, k, node := s.driver.(Data), s.driver.(Killer), s.any()
	s.silence(node)
	s.undo(func(ctx context.Context) error { return s.comeBack(ctx, d, k, node) })
	part, end := Log, func() error { return k.Kill(ctx, node) }
	if s.spec.Variant == damagedTable {
		part, end = Table, func() error { return k.Stop(ctx, node) } // what is in memory becomes one
	}
	if err := end(); err != nil {
		return err
	}
	where, err := d.Damage(node, part, s.random)
	if errors.Is(err, ErrNoPlace) {
		s.window.NotRun = "the node has nothing yet that could be damaged so"
		return nil
	}
	s.note("%s", where)
	return err
}

// comeBack starts a node whose data may be damaged. If it refuses them, it does
// what its documentation asks for: it gives it an empty disk.
func (s *scene) comeBack(ctx context.Context, d Data, k Killer, node string) error {
	err := k.Start(ctx, node)
	if err == nil {
		err = s.driver.AwaitInSync(ctx)
	}
	if err == nil || k.Running(node) {
		return err
	}
	s.note("the node refused its data")
	if err := d.Wipe(node); err != nil {
		return err
	}
	return k.Start(ctx, node)
}
