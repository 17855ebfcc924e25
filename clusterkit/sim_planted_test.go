//go:build planted

package clusterkit

import (
	"strings"
	"testing"
)

// TestPlanted breaks one rule at a time and demands that a schedule convicts
// it: what the simulation never catches it does not check.
func TestPlanted(t *testing.T) {
	const limit = 20000
	const primaries, writes, drained = "but that is", "has not got write", "nobody has ordered"
	for rule, verdict := range map[simRule]string{
		breakWait: primaries, breakBarrier: primaries, breakAsked: primaries, breakRate: primaries, breakDeposed: primaries,
		breakMap: primaries, breakTerm: primaries, breakGiveUp: primaries, breakIncarnation: primaries,
		breakInSync: "is elected", breakKeep: writes, breakAssignment: writes,
		breakSelf: drained, breakOrder: drained,
	} {
		t.Run(string(rule), func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(limit) {
				opt := simOptionsOf(seed)
				opt.broken = rule
				if r := simulate(opt); strings.Contains(r.violation, verdict) {
					t.Logf("%s: convicted after %d seeds: %s", rule, seed+1, r.violation)
					return
				}
			}
			t.Errorf("%s: not convicted by %d seeds", rule, limit)
		})
	}
}
