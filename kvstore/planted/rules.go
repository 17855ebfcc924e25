// Package planted names the rules of the data plane that can be broken on
// purpose: a check that has never caught anything proves nothing. Only a build
// with the tag "planted" can break any.
package planted

// Rule is a rule that can be broken. Its comment says what happens then.
type Rule uint8

// The rules of the protocol between replicas.
const (
	// KeepAll breaks none.
	KeepAll Rule = iota
	// AckBeforeFsync: replicas answer before the disk has the entries.
	AckBeforeFsync
	// AckEndOfLog: an answer says where the log ends, not how far this request
	// reached.
	AckEndOfLog
	// AcceptLowerEpochs: replicas take entries of a deposed primary.
	AcceptLowerEpochs
	// PromiseVolatile: promises are not written.
	PromiseVolatile
	// ActivateLowerEpochs: a replica leads an epoch below its promise.
	ActivateLowerEpochs
	// ResumeRecovery: a replica leads the promised epoch again after a restart.
	ResumeRecovery
	// RestartServes: it does, and serves without an entry of its own first.
	RestartServes
	// ServeEarly: a primary serves before the epoch's no-op is committed.
	ServeEarly
	// SuffixNotReconciled: entries are taken behind whatever the log ends with.
	SuffixNotReconciled
	// TruncateOnRepeat: what stands above a repeated message is dropped.
	TruncateOnRepeat
	// TruncateToCommit: a new epoch drops what is not known to be committed.
	TruncateToCommit
	// CommitUnclamped: a follower applies through the primary's mark although
	// its log is not known to equal the primary's.
	CommitUnclamped
	// IgnoreProposals: only the committed in-sync set counts for
	// acknowledgements, not what is being proposed.
	IgnoreProposals
	// ForgetProposal: a proposal no longer counts after its time-out.
	ForgetProposal
	// ShrinkEarly: a member is not waited for although its removal is not
	// committed.
	ShrinkEarly
	// JoinEarly: a learner is proposed before it has everything.
	JoinEarly
	// JoinUnverified: a learner is proposed although its copy was not compared.
	JoinUnverified
	// StayUnreached: a primary that reaches none of its peers stays primary.
	StayUnreached
	// NoAdditionsInRecovery: members are added by a serving primary only.
	NoAdditionsInRecovery
	// IgnoreMinInSync: entries are committed with fewer in-sync members than
	// demanded.
	IgnoreMinInSync
	// ConfirmByMajority: a read is confirmed by most of those who may count.
	ConfirmByMajority
)

// The rules of the control plane.
const (
	// StickyLease: the session of a deposed node is renewed.
	StickyLease Rule = iota + 64
	// DeposeLive: another primary is elected while the lease of the old one
	// runs.
	DeposeLive
	// ElectAnyone: members that are not in-sync are elected.
	ElectAnyone
	// TransferToAnyone: a hand-over goes to its target also if that has left the
	// in-sync set.
	TransferToAnyone
	// KeepWipedMember: a node that lost its disk keeps its place in the in-sync
	// set.
	KeepWipedMember
)

// The rules by which requests are answered.
const (
	// ReadWithoutLease: reads are served without lease or confirmation.
	ReadWithoutLease Rule = iota + 128
	// LeaseOfAnyEpoch: the lease of a session covers whatever the node thinks
	// that it leads.
	LeaseOfAnyEpoch
	// LeaseBeforeRead: the lease is checked before the value is taken, yet after
	// the request has come.
	LeaseBeforeRead
	// LeaseBeforeRequest: what was found of the lease when the request before was
	// answered counts for this one.
	LeaseBeforeRequest
	// AnswerUncommitted: a read or a condition that is not met is answered from
	// what is not committed.
	AnswerUncommitted
	// RepeatUncommitted: a repeated request is answered while the first is not
	// committed.
	RepeatUncommitted
	// ExpireLocally: a value that has expired by the primary's clock is reported
	// absent although its deletion is not replicated.
	ExpireLocally
	// ShowLate: a primary shows and acknowledges what is committed later than
	// its followers show it.
	ShowLate
	// ScanPresent: later pages of a scan show what is there when they are read.
	ScanPresent
	// ScanUncovered: a scan needs neither lease nor confirmation.
	ScanUncovered
	// ScanUnsettled: the snapshot of a scan does not wait for what was appended
	// before the clock was read that values run out by.
	ScanUnsettled
	// ScanHidesExpired: a scan leaves out what has run out, and does not have it
	// deleted.
	ScanHidesExpired
	// RetryUnknown: a write of unknown outcome is sent again.
	RetryUnknown
)
