package replication

import (
	"errors"
	"fmt"
)

// ErrFrame is wrapped by every error about a frame that must not be used: the
// bytes were damaged, or the other end speaks another version or is broken.
var ErrFrame = errors.New("replication: bad frame")

// Reason is why a frame is refused. There are only those below, so that they
// can label a metric.
type Reason string

// The reasons.
const (
	BadLength      Reason = "length"
	BadChecksum    Reason = "checksum"
	UnknownVersion Reason = "version"
	// Malformed frames break the format behind a checksum that matches.
	Malformed Reason = "malformed"
	// BadPartition is that of a partition that the cluster does not have.
	BadPartition Reason = "partition"
	// BadEpoch is that of an epoch which nobody can have reached, or of
	// entries whose epochs do not rise.
	BadEpoch Reason = "epoch"
	// Oversized messages are too large to be written to the log as a whole.
	Oversized Reason = "oversized"
	// BadEntry is that of an entry whose content this node cannot read.
	BadEntry Reason = "entry"
	// Handshake is that of a connection that was refused before any frame.
	Handshake Reason = "handshake"
)

// Reasons are all there are.
var Reasons = []Reason{BadLength, BadChecksum, UnknownVersion, Malformed, BadPartition, BadEpoch, Oversized, BadEntry, Handshake}

// FrameError says why a frame was refused. It wraps [ErrFrame]. The connection
// that it came on is closed.
type FrameError struct {
	Reason Reason
	detail string
}

// Reject returns a FrameError; the format describes what is wrong.
func Reject(reason Reason, format string, args ...any) *FrameError {
	return &FrameError{reason, fmt.Sprintf(format, args...)}
}

func (e *FrameError) Error() string {
	return fmt.Sprintf("%v (%s): %s", ErrFrame, e.Reason, e.detail)
}

func (e *FrameError) Unwrap() error { return ErrFrame }
