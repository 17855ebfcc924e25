// Package planted names the rules of the data plane that can be broken on
// purpose: a check that has never caught anything proves nothing. Only a build
// with the tag "planted" can break any.
package planted

// Rule is a rule that can be broken.
type Rule uint8

// The rules that can be broken.
const (
	// KeepAll breaks none.
	KeepAll Rule = iota
	// AckBeforeFsync answers before the disk has the entries.
	AckBeforeFsync
	// AcceptLowerEpochs takes entries of a deposed primary.
	AcceptLowerEpochs
	// TruncateOnRepeat drops what stands above a repeated message.
	TruncateOnRepeat
	// CommitUnclamped applies through the primary's mark although the log is
	// not known to equal the primary's.
	CommitUnclamped
	// ShrinkEarly stops waiting for a member before its removal is committed.
	ShrinkEarly
	// ForgetProposal drops members of a proposal in flight from the
	// acknowledgement set.
	ForgetProposal
	// ServeEarly serves before the epoch's no-op is committed.
	ServeEarly
	// RestartServes leads the promised epoch again after a restart.
	RestartServes
	// JoinEarly proposes a learner before it has everything.
	JoinEarly
	// IgnoreMinInSync commits with fewer in-sync members than demanded.
	IgnoreMinInSync
	// ReadWithoutLease serves reads without lease or confirmation.
	ReadWithoutLease
	// StickyLease renews the session of a deposed node.
	StickyLease
	// DeposeLive elects while the lease of the old primary runs.
	DeposeLive
	// ElectAnyone elects members that are not in-sync.
	ElectAnyone
)
