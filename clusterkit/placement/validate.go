package placement

import (
	"errors"
	"fmt"
	"slices"
)

// ErrInvalidPlan is returned when a plan breaks one of the properties that
// [Plan] promises.
var ErrInvalidPlan = errors.New("invalid placement plan")

// Validate checks that a plan is one that may answer the request: the number
// of partitions, distinct eligible nodes for each, and the levels of nodes
// and zones. It does not check how many replicas the plan moves. The error
// wraps [ErrInvalidPlan], or is the one that [Plan] returns for the request.
func Validate(req Request, plan [][]string) error {
	c, err := newCluster(req)
	if err != nil {
		return err
	}
	if len(plan) != c.partitions {
		return fmt.Errorf("%w: it has %d partitions, want %d", ErrInvalidPlan, len(plan), c.partitions)
	}
	index := make(map[string]int32, len(c.nodes))
	for i, n := range c.nodes {
		index[n.ID] = int32(i)
	}
	group, groups := c.zoneGroups()
	replicas := make([]int32, len(c.nodes))
	primaries := make([]int32, len(c.nodes))
	for p, row := range plan {
		if len(row) != c.copies {
			return fmt.Errorf("%w: partition %d has %d replicas, want %d", ErrInvalidPlan, p, len(row), c.copies)
		}
		inGroup := make([]int32, len(groups))
		for slot, id := range row {
			i, ok := index[id]
			if !ok {
				return fmt.Errorf("%w: partition %d is on %q, which is gone or drained", ErrInvalidPlan, p, id)
			}
			if slices.Contains(row[:slot], id) {
				return fmt.Errorf("%w: partition %d is on %q twice", ErrInvalidPlan, p, id)
			}
			replicas[i]++
			if slot == 0 {
				primaries[i]++
			}
			inGroup[group[i]]++
			if g := group[i]; inGroup[g] > groups[g].max {
				return fmt.Errorf("%w: partition %d has more than %d replicas in zone %q",
					ErrInvalidPlan, p, groups[g].max, c.nodes[i].Zone)
			}
		}
		for i, g := range group {
			if inGroup[g] < groups[g].min {
				return fmt.Errorf("%w: partition %d has %d replicas in zone %q, want at least %d",
					ErrInvalidPlan, p, inGroup[g], c.nodes[i].Zone, groups[g].min)
			}
		}
	}
	slacks := c.primarySlacks()
	return errors.Join(
		c.checkLevels("replicas", replicas, c.replicaLevels()),
		c.checkLevels("primaries", primaries, c.primaryLevels(slacks[len(slacks)-1])),
	)
}

func (c *cluster) checkLevels(what string, counts []int32, levels []bounds) error {
	for i, b := range levels {
		if counts[i] < b.min || counts[i] > b.max {
			return fmt.Errorf("%w: node %q has %d %s, want %d to %d",
				ErrInvalidPlan, c.nodes[i].ID, counts[i], what, b.min, b.max)
		}
	}
	return nil
}
