//go:build planted

package sim

import (
	"testing"

	"github.com/skshohagmiah/clusterkit/kvstore/partition"
)

// TestPlanted breaks one rule at a time and demands that a schedule convicts
// it: what the simulator never catches it does not check.
func TestPlanted(t *testing.T) {
	for name, rule := range map[string]partition.Rule{
		"ack before fsync":                partition.AckBeforeFsync,
		"lower epochs accepted":           partition.AcceptLowerEpochs,
		"truncate on a repeated message":  partition.TruncateOnRepeat,
		"commit mark not clamped":         partition.CommitUnclamped,
		"shrink before its commit":        partition.ShrinkEarly,
		"proposal in flight forgotten":    partition.ForgetProposal,
		"serve before the no-op commits":  partition.ServeEarly,
		"epoch served again on restart":   partition.RestartServes,
		"learner proposed too early":      partition.JoinEarly,
		"min-in-sync ignored":             partition.IgnoreMinInSync,
		"read without lease":              partition.ReadWithoutLease,
		"deposed session renewed":         partition.StickyLease,
		"deposed while the lease runs":    partition.DeposeLive,
		"member elected that lags behind": partition.ElectAnyone,
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
