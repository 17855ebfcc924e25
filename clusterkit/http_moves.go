package clusterkit

import (
	"net/http"

	"github.com/skshohagmiah/clusterkit/clusterkit/placement"
)

type movesAnswer struct {
	Version uint64 `json:"version"`
	// Paused is as in [Map].
	Paused bool   `json:"paused"`
	Moves  []Move `json:"moves"`
}

func viewMoves(s sight) any {
	moves := s.m.Moves()
	if moves == nil {
		moves = []Move{}
	}
	return movesAnswer{s.m.Version, s.m.Paused, moves}
}

// cancelMoves cancels all moves if no partitions are named.
func (a *api) cancelMoves(w *responder, r *http.Request) error {
	var body struct {
		Partitions []string `json:"partitions"`
	}
	if err := readOptionalJSON(w, r, `{"partitions":["partition-5"]}, or nothing for all`, &body); err != nil {
		return err
	}
	partitions := make([]int, len(body.Partitions))
	for i, id := range body.Partitions {
		p, err := a.partition(id)
		if err != nil {
			return err
		}
		partitions[i] = p.Index
	}
	return w.done(a.ck.CancelMoves(r.Context(), partitions...))
}

func (a *api) relocate(w *responder, r *http.Request) error {
	const example = `{"from":"node-1","to":"node-4"}, {"primary":"node-2"}, or both`
	var change Relocation
	if err := readJSON(w, r, example, &change); err != nil {
		return err
	}
	p, err := a.partition(pathVar(r, "id"))
	if err != nil {
		return err
	}
	moved, err := a.ck.Relocate(r.Context(), p.Index, change)
	if err != nil {
		return err
	}
	return w.json(http.StatusOK, moved)
}

// planAnswer is a [Plan] with the partitions' IDs.
type planAnswer struct {
	Rounds [][]plannedStep `json:"rounds"`
	Copies int             `json:"copies"`
	Nodes  []NodeLoad      `json:"nodes"`
}

type plannedStep struct {
	Partition string             `json:"partition"`
	Index     int                `json:"index"`
	Kind      placement.StepKind `json:"kind"`
	Node      string             `json:"node"`
}

func (a *api) plan(w *responder, r *http.Request) error {
	var changes Changes
	const example = `{"drain":["node-1"],"undrain":[],"remove":[],"weights":{"node-2":2},"replication_factor":3}, any of them, or nothing for things as they are`
	if err := readOptionalJSON(w, r, example, &changes); err != nil {
		return err
	}
	plan, err := a.ck.DryRun(changes)
	if err != nil {
		return err
	}
	answer := planAnswer{make([][]plannedStep, len(plan.Rounds)), plan.Copies, plan.Nodes}
	for i, round := range plan.Rounds {
		for _, step := range round {
			id := a.ck.Map().Partitions[step.Partition].ID
			answer.Rounds[i] = append(answer.Rounds[i], plannedStep{id, step.Partition, step.Kind, step.Node})
		}
	}
	return w.json(http.StatusOK, answer)
}
