//go:build planted

package sim

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/planted"
)

var table = flag.String("table", "", "file to write the table of broken rules to")

// enough is how many schedules have to convict a broken rule.
const enough = 20_000

// harmless is how many schedules a rule is tried with that is argued to be
// harmless when it is broken.
const harmless = 2_000

type brokenRule struct {
	rule planted.Rule
	what string
	// argued: by kvstore/DESIGN.md it does no harm.
	argued bool
	// unit is the only one of the workload that can show it.
	unit string
}

var brokenRules = []brokenRule{
	{rule: planted.AckBeforeFsync, what: "replicas answer before the disk has the entries"},
	{rule: planted.AckEndOfLog, what: "an answer says where the log ends, not how far the request reached"},
	{rule: planted.AcceptLowerEpochs, what: "entries of a deposed primary are taken"},
	{rule: planted.PromiseVolatile, what: "promises are not written"},
	{rule: planted.ActivateLowerEpochs, what: "a replica leads an epoch below its promise"},
	{rule: planted.ResumeRecovery, what: "a replica leads its epoch again after a restart"},
	{rule: planted.RestartServes, what: "and serves at once"},
	{rule: planted.ServeEarly, what: "a primary serves before its no-op is committed"},
	{rule: planted.SuffixNotReconciled, what: "entries are taken behind whatever the log ends with"},
	{rule: planted.TruncateOnRepeat, what: "a repeated message drops what stands above it"},
	{rule: planted.TruncateToCommit, what: "a new epoch drops what is not known to be committed"},
	{rule: planted.CommitUnclamped, what: "the commit mark is followed beyond what is known to match"},
	{rule: planted.IgnoreProposals, what: "members of a proposal in flight do not count"},
	{rule: planted.ForgetProposal, what: "a proposal is dropped at its time-out"},
	{rule: planted.ShrinkEarly, what: "a removal counts before it is committed"},
	{rule: planted.JoinEarly, what: "a learner is proposed before it has everything"},
	{rule: planted.JoinUnverified, what: "a learner is proposed without comparison of digests"},
	{rule: planted.StayUnreached, what: "a primary that reaches nobody stays"},
	{rule: planted.NoAdditionsInRecovery, what: "a primary that recovers adds nobody"},
	{rule: planted.IgnoreMinInSync, what: "entries are committed below min-in-sync"},
	{rule: planted.ConfirmByMajority, what: "a read is confirmed by a majority only"},
	{rule: planted.StickyLease, what: "a deposed session is renewed"},
	{rule: planted.DeposeLive, what: "a primary is deposed while its lease runs"},
	{rule: planted.ElectAnyone, what: "a member that is not in-sync is elected"},
	{rule: planted.TransferToAnyone, what: "a hand-over goes to a member that is not in-sync any more"},
	{rule: planted.KeepWipedMember, what: "a lost disk keeps its place in the in-sync set"},
	{rule: planted.ReadWithoutLease, what: "reads need neither lease nor confirmation"},
	{rule: planted.LeaseOfAnyEpoch, what: "a lease covers an epoch that the map has left"},
	{rule: planted.LeaseBeforeRead, what: "the lease is checked before the value is taken, but within the request", argued: true},
	{rule: planted.LeaseBeforeRequest, what: "the lease is checked before the read: what the request before has found counts"},
	{rule: planted.AnswerUncommitted, what: "a read, or a failed condition, is answered from uncommitted state"},
	{rule: planted.RepeatUncommitted, what: "a repetition is answered while the first is not committed"},
	{rule: planted.ExpireLocally, what: "expiry is decided by a clock, without the replicated delete", unit: "lock"},
	{rule: planted.ShowLate, what: "a stale read shows what a later linearizable one does not"},
	{rule: planted.ScanPresent, what: "later pages of a scan show what is there by then"},
	{rule: planted.ScanUncovered, what: "a scan needs neither lease nor confirmation"},
	{rule: planted.ScanUnsettled, what: "a scan does not wait for what was appended before it read the clock"},
	{rule: planted.ScanHidesExpired, what: "a scan leaves out what has run out without the replicated delete", unit: "lock"},
	{rule: planted.RetryUnknown, what: "a write of unknown outcome is sent again"},
}

// TestPlanted breaks one rule at a time and demands that a schedule convicts
// it: what the simulator never catches it does not check.
func TestPlanted(t *testing.T) {
	var rows strings.Builder
	for _, b := range brokenRules {
		t.Run(b.what, func(t *testing.T) { rows.WriteString(b.convict(t)) })
	}
	if *table == "" || t.Failed() {
		return
	}
	text := "# Broken rules, and what finds them\n\n" +
		"Written by `make planted`. Each row is the real code with one rule broken, run through the schedules of the seeds 1, 2, 3, ... until a check fails. " +
		"[planted](../planted/rules.go) has the rules, [world.go](world.go) the checks.\n\n" +
		"| broken rule | found by | after seeds | after seconds |\n|---|---|---|---|\n" + rows.String()
	if err := os.WriteFile(*table, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// convict runs schedules until one convicts the rule, and returns its row of
// the table.
func (b brokenRule) convict(t *testing.T) string {
	n := uint64(enough)
	if b.argued {
		n = harmless
	}
	var verdict Result
	var convicted uint64
	start := time.Now()
	ran := runAll(1, n, func(o *Options) { o.Rules.Break, o.Unit = b.rule, b.unit }, func(seed uint64, r Result) bool {
		if r.Violation != "" && (convicted == 0 || seed < convicted) {
			convicted, verdict = seed, r
		}
		return convicted != 0
	})
	seconds := time.Since(start).Seconds()
	switch {
	case b.argued && convicted == 0:
		return fmt.Sprintf("| %s | nothing: argued to be harmless in [DESIGN.md](../DESIGN.md) | %d | %.0f |\n", b.what, ran, seconds)
	case b.argued:
		t.Errorf("argued to be harmless, but seed %d: %s", convicted, verdict.Violation)
	case convicted == 0:
		t.Errorf("never convicted, by %d seeds", ran)
	default:
		t.Logf("seed %d: %s", convicted, verdict.Violation)
	}
	return fmt.Sprintf("| %s | %s | %d | %.0f |\n", b.what, verdict.Failed, convicted, seconds)
}
