package placement_test

import "github.com/skshohagmiah/clusterkit/clusterkit/placement"

// choice is the choice of need nodes for each of some partitions, within
// bounds. It shares nothing with the planner.
type choice struct {
	partitions, need int
	nodes            int
	min, max         []int   // partitions per node
	zone             []int   // of each node
	zoneMin, zoneMax []int   // nodes per partition
	cost             [][]int // per partition and node; negative forbids
}

const impossible = 1 << 20

// minCost returns the cost of the cheapest choice; ok is false if there is
// none. It tries every choice, and remembers the best for each number of
// partitions that the nodes may have so far.
func (c choice) minCost() (cost int, ok bool) {
	memo := make(map[string]int)
	var from func(p int, count []byte) int
	from = func(p int, count []byte) int {
		if p == c.partitions {
			for i, n := range count {
				if int(n) < c.min[i] {
					return impossible
				}
			}
			return 0
		}
		key := string(count) + string(rune(p))
		if best, ok := memo[key]; ok {
			return best
		}
		best := impossible
		for set := range 1 << c.nodes {
			cost, ok := c.allowed(p, set, count)
			if !ok {
				continue
			}
			next := append([]byte(nil), count...)
			for i := range c.nodes {
				if set>>i&1 == 1 {
					next[i]++
				}
			}
			best = min(best, cost+from(p+1, next))
		}
		memo[key] = best
		return best
	}
	cost = from(0, make([]byte, c.nodes))
	return cost, cost < impossible
}

func (c choice) allowed(p, set int, count []byte) (cost int, ok bool) {
	size := 0
	inZone := make([]int, len(c.zoneMin))
	for i := range c.nodes {
		if set>>i&1 == 0 {
			continue
		}
		if c.cost[p][i] < 0 || int(count[i]) == c.max[i] {
			return 0, false
		}
		size++
		cost += c.cost[p][i]
		inZone[c.zone[i]]++
	}
	for z, n := range inZone {
		if n < c.zoneMin[z] || n > c.zoneMax[z] {
			return 0, false
		}
	}
	return cost, size == c.need
}

// ideal is the fraction of each thing that nodes and zones should have,
// worked out in floating point from the definition of a share.
type ideal struct {
	nodes     []placement.Node // eligible
	copies    int
	replicas  []float64
	primaries []float64
	full      int // nodes that hold a replica of every partition
}

func idealOf(req placement.Request) ideal {
	var id ideal
	total := 0.0
	for _, n := range req.Nodes {
		if !n.Drained {
			id.nodes = append(id.nodes, n)
			total += weight(n)
		}
	}
	id.copies = min(req.ReplicationFactor, len(id.nodes))
	id.replicas = make([]float64, len(id.nodes))
	full := make([]bool, len(id.nodes))
	for again := true; again; {
		again = false
		rest, sum := float64(id.copies), 0.0
		for i, n := range id.nodes {
			if full[i] {
				rest--
			} else {
				sum += weight(n)
			}
		}
		for i, n := range id.nodes {
			share := 1.0
			if !full[i] {
				share = rest * weight(n) / sum
			}
			if share > 1+1e-9 {
				full[i], again = true, true
				break
			}
			id.replicas[i] = share * float64(req.Partitions)
		}
	}
	for i, n := range id.nodes {
		id.primaries = append(id.primaries, float64(req.Partitions)*weight(n)/total)
		if id.replicas[i] > float64(req.Partitions)-1e-6 {
			id.full++
		}
	}
	return id
}

func weight(n placement.Node) float64 { return float64(max(n.Weight, 1)) }
