//go:build planted

package planted

// Rules says which rule to break; zero breaks none.
type Rules struct{ Break Rule }

// Breaks reports whether the rule is to be broken.
func (p Rules) Breaks(r Rule) bool { return p.Break == r }

// named are the rules that a node can be told to break.
var named = map[string]Rule{
	"ack-before-fsync":      AckBeforeFsync,
	"ack-end-of-log":        AckEndOfLog,
	"accept-lower-epochs":   AcceptLowerEpochs,
	"promise-volatile":      PromiseVolatile,
	"activate-lower-epochs": ActivateLowerEpochs,
	"resume-recovery":       ResumeRecovery,
	"restart-serves":        RestartServes,
	"serve-early":           ServeEarly,
	"suffix-not-reconciled": SuffixNotReconciled,
	"truncate-on-repeat":    TruncateOnRepeat,
	"truncate-to-commit":    TruncateToCommit,
	"commit-unclamped":      CommitUnclamped,
	"ignore-proposals":      IgnoreProposals,
	"forget-proposal":       ForgetProposal,
	"shrink-early":          ShrinkEarly,
	"join-early":            JoinEarly,
	"ignore-min-in-sync":    IgnoreMinInSync,
	"confirm-by-majority":   ConfirmByMajority,
	"read-without-lease":    ReadWithoutLease,
	"lease-of-any-epoch":    LeaseOfAnyEpoch,
	"answer-uncommitted":    AnswerUncommitted,
	"repeat-uncommitted":    RepeatUncommitted,
	"expire-locally":        ExpireLocally,
}

// Named returns the rule of that name, if a node can break it.
func Named(name string) (Rule, bool) {
	r, ok := named[name]
	return r, ok
}
