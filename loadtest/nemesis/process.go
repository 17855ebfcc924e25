package nemesis

import (
	"context"
	"time"
)

var processFaults = []fault{
	{
		name: "kill", does: "end processes with SIGKILL, start them later",
		variants: []string{primary, replica, leader, both, every},
		needs:    needs(Killing),
		begin:    kill,
	},
	{
		name: "pause", does: "let processes stand still with SIGSTOP",
		variants: []string{primary, replica, leader, every},
		needs:    needs(Pausing),
		begin:    pause,
	},
	{
		name: "restart", does: "stop and start one node after the other, as an upgrade does",
		needs: needs(Killing),
		begin: restart,
	},
	{
		name: "clock", does: "set a node's time of day wrong, then right again",
		variants: []string{primary, leader, every},
		params:   map[string]func(string) error{"jump": anyDuration},
		needs:    needs(SettingClocks),
		begin:    jump,
	},
}

func kill(ctx context.Context, s *scene) error {
	d, nodes := s.driver.(Killer), s.victims()
	s.silence(nodes...)
	s.undo(func(ctx context.Context) error { return d.Start(ctx, nodes...) })
	return d.Kill(ctx, nodes...)
}

func pause(_ context.Context, s *scene) error {
	d, nodes := s.driver.(Pauser), s.victims()
	s.silence(nodes...)
	s.undo(func(context.Context) error { return d.Resume(nodes...) })
	return d.Pause(nodes...)
}

func restart(ctx context.Context, s *scene) error {
	d := s.driver.(Killer)
	for _, n := range s.driver.Nodes() {
		s.hit(n)
		stopped := s.driver.AwaitInSync(ctx)
		if stopped == nil {
			stopped = d.Stop(ctx, n)
		}
		if stopped != nil {
			return stopped
		}
		if err := d.Start(context.WithoutCancel(ctx), n); err != nil {
			return err
		}
	}
	return nil
}

const usualJump = time.Hour

func jump(_ context.Context, s *scene) error {
	d, nodes := s.driver.(Clocks), s.victims()
	by := s.spec.duration("jump", usualJump)
	if _, given := s.spec.params["jump"]; !given && s.random.IntN(2) == 0 {
		by = -by
	}
	s.hit(nodes...)
	s.note("by %v", by)
	for _, n := range nodes {
		if err := d.Jump(n, by); err != nil {
			return err
		}
		s.undo(func(context.Context) error { return d.Jump(n, -by) })
	}
	return nil
}
