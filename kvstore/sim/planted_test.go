//go:build planted

package sim

import (
	"testing"

	"github.com/skshohagmiah/clusterkit/kvstore/planted"
)

// TestPlanted breaks one rule at a time and demands that a schedule convicts
// it: what the simulator never catches it does not check.
func TestPlanted(t *testing.T) {
	for name, rule := range map[string]planted.Rule{
		"ack before fsync":                planted.AckBeforeFsync,
		"lower epochs accepted":           planted.AcceptLowerEpochs,
		"truncate on a repeated message":  planted.TruncateOnRepeat,
		"commit mark not clamped":         planted.CommitUnclamped,
		"shrink before its commit":        planted.ShrinkEarly,
		"proposal in flight forgotten":    planted.ForgetProposal,
		"serve before the no-op commits":  planted.ServeEarly,
		"epoch served again on restart":   planted.RestartServes,
		"learner proposed too early":      planted.JoinEarly,
		"min-in-sync ignored":             planted.IgnoreMinInSync,
		"read without lease":              planted.ReadWithoutLease,
		"deposed session renewed":         planted.StickyLease,
		"deposed while the lease runs":    planted.DeposeLive,
		"member elected that lags behind": planted.ElectAnyone,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(20000) {
				opt := options(seed)
				opt.Planted.Break = rule
				if r := Run(opt); r.Violation != "" {
					t.Logf("convicted after %d seeds: %s", seed+1, r.Violation)
					return
				}
			}
			t.Error("never convicted")
		})
	}
}
