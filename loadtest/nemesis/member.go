package nemesis

import "context"

// What may happen to the membership.
const (
	join  = "join"
	drain = "drain"
	leave = "leave"
)

var memberFaults = []fault{{
	name: "membership", does: "have a node join under load; drain another one, or let it leave, meanwhile",
	variants: []string{join, drain, leave},
	needs:    needs(Joining),
	begin:    changeMembers,
}}

// changeMembers leaves as many nodes behind as there were.
func changeMembers(ctx context.Context, s *scene) error {
	d, victim := s.driver.(Members), s.any()
	guest, err := d.Join(ctx)
	if err != nil {
		return err
	}
	s.hit(guest)
	s.undo(func(ctx context.Context) error { return d.Leave(ctx, guest) })
	if err := s.driver.AwaitInSync(ctx); err != nil {
		return err
	}
	switch s.spec.Variant {
	case drain:
		s.hit(victim)
		s.undo(func(ctx context.Context) error { return d.Undrain(ctx, victim) })
		return d.Drain(ctx, victim)
	case leave:
		s.hit(victim)
		s.undo(func(ctx context.Context) error {
			if _, err := d.Join(ctx); err != nil {
				return err
			}
			return s.driver.AwaitInSync(ctx)
		})
		return d.Leave(ctx, victim)
	default:
		return nil
	}
}
