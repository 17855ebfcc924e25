package check

import (
	"context"
	"fmt"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// Verifier compares the copies of a partition, as kvstore/client does.
type Verifier interface {
	Verify(ctx context.Context, partition string) (api.Verification, error)
}

// Copies makes sure that all copies of each of so many partitions are equal, and
// that what is on their disks is what was written there.
func Copies(ctx context.Context, v Verifier, partitions int) []Finding {
	var found []Finding
	for i := range partitions {
		name := fmt.Sprintf("partition-%d", i)
		verified, err := v.Verify(ctx, name)
		if err != nil {
			found = append(found, Finding{Kind: Undecided, Unit: name, Detail: fmt.Sprintf("its copies could not be compared: %v", err)})
			continue
		}
		found = append(found, compare(name, verified)...)
	}
	return found
}

// compare does not take the word of the cluster for copies being equal.
func compare(name string, v api.Verification) []Finding {
	var found []Finding
	report := func(kind Kind, format string, args ...any) {
		found = append(found, Finding{Kind: kind, Unit: name, Detail: fmt.Sprintf(format, args...)})
	}
	var first api.VerifiedCopy
	for _, c := range v.Copies {
		switch {
		case c.State == api.CopyNotReachable:
			report(Undecided, "the copy on %s cannot be reached: %s", c.Node, c.Detail)
		case c.State == api.CopyDamaged:
			report(Corrupt, "the copy on %s is damaged: %s", c.Node, c.Detail)
		case c.State != api.CopyOK:
			report(Diverged, "the copy on %s %s at %s: %s", c.Node, c.State, v.Position, c.Detail)
		case first.Node == "":
			first = c
		case c.Digest != first.Digest || c.Items != first.Items:
			report(Diverged, "at %s, %s has %d items with digest %s, and %s %d with %s", v.Position, first.Node, first.Items, first.Digest, c.Node, c.Items, c.Digest)
		}
	}
	if first.Node == "" {
		report(Undecided, "no copy of it is known to be right")
	}
	return found
}
