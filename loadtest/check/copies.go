package check

import "fmt"

// Copy is what a copy of a partition held.
type Copy struct {
	Partition string
	Node      string
	// Position is through which write it was complete. Only copies at the same
	// position are compared.
	Position string
	// Digest depends on everything in the copy, and on nothing else.
	Digest string
}

// Copies makes sure that copies of a partition at the same position are equal.
func Copies(copies []Copy) []Finding {
	type at struct{ partition, position string }
	var found []Finding
	first := map[at]Copy{}
	for _, c := range copies {
		place := at{c.Partition, c.Position}
		other, ok := first[place]
		if !ok {
			first[place] = c
		} else if other.Digest != c.Digest {
			found = append(found, Finding{Kind: Diverged, Unit: c.Partition,
				Detail: fmt.Sprintf("at %s, %s has %s and %s has %s", c.Position, other.Node, other.Digest, c.Node, c.Digest)})
		}
	}
	return found
}
