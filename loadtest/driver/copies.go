package driver

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/skshohagmiah/clusterkit/loadtest/check"
)

// A node answers questions about its copies, if they come from its own cluster.
const (
	copiesPath    = "/internal/copies/"
	clusterHeader = "Clusterkit-Cluster"
	maxCopies     = 16 << 20
)

// copyAt is a copy of a partition, and through which entry something is asked of
// it.
type copyAt struct {
	Partition uint32 `json:"partition"`
	Member    struct {
		Node        string
		Store       string
		Incarnation uint64
	} `json:"member"`
	Commit uint64 `json:"commit,omitempty"`
	At     uint64 `json:"at,omitempty"`
}

// Copies returns what each copy of each partition holds, all of them at the same
// position. Nobody may be writing. It asks again until all nodes have answered or
// ctx ends.
func Copies(ctx context.Context, cluster string, endpoints []string) ([]check.Copy, error) {
	for {
		copies, err := copiesOnce(ctx, cluster, endpoints)
		if err == nil {
			return copies, nil
		}
		select {
		case <-time.After(pollInterval):
		case <-ctx.Done():
			return nil, fmt.Errorf("digests of the copies: %w (%w)", err, context.Cause(ctx))
		}
	}
}

func copiesOnce(ctx context.Context, cluster string, endpoints []string) ([]check.Copy, error) {
	found := map[string][]copyAt{}
	last := map[uint32]uint64{}
	for _, addr := range endpoints {
		var copies []copyAt
		if err := question(ctx, cluster, addr, "commits", nil, &copies); err != nil {
			return nil, err
		}
		found[addr] = copies
		for _, c := range copies {
			last[c.Partition] = max(last[c.Partition], c.Commit)
		}
	}
	var all []check.Copy
	for addr, copies := range found {
		for _, c := range copies {
			c.Commit, c.At = 0, last[c.Partition]
			var answer struct{ Count, Digest uint64 }
			if err := question(ctx, cluster, addr, "digest", c, &answer); err != nil {
				return nil, err
			}
			all = append(all, check.Copy{
				Partition: fmt.Sprintf("partition-%d", c.Partition),
				Node:      c.Member.Node,
				Position:  fmt.Sprint(c.At),
				Digest:    fmt.Sprintf("%d items, %016x", answer.Count, answer.Digest),
			})
		}
	}
	return all, nil
}

// question asks a node about its copies.
func question(ctx context.Context, cluster, addr, what string, ask, answer any) error {
	body, err := json.Marshal(ask)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+copiesPath+what, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set(clusterHeader, cluster)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxCopies))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s%s of %s answered %s: %.200s", copiesPath, what, addr, resp.Status, bytes.TrimSpace(b))
	}
	return json.Unmarshal(b, answer)
}
