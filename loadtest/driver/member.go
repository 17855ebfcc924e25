package driver

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/client"
)

const (
	pollInterval = 50 * time.Millisecond
	// attemptWithin bounds one request, so that a node that is frozen does not
	// keep the others from being asked.
	attemptWithin = 10 * time.Second
)

// Join starts a node that the cluster does not know: one that has left, so that
// clients find it where they look for it, or else a new one.
func (p *Processes) Join(ctx context.Context) (string, error) {
	for i, n := range p.cluster.Nodes() {
		if n.HasLeft() {
			return n.ID, p.cluster.Readmit(ctx, i)
		}
	}
	i, err := p.cluster.Add()
	if err != nil {
		return "", err
	}
	n := p.cluster.Nodes()[i]
	return n.ID, n.Start(ctx)
}

// Drain empties a node.
func (p *Processes) Drain(ctx context.Context, node string) error {
	if err := p.order(ctx, node, "drain"); err != nil {
		return err
	}
	return p.await(ctx, fmt.Sprintf("%s to be empty", node), func(s *client.Status) bool {
		return !slices.ContainsFunc(s.Partitions, func(part client.Partition) bool {
			return slices.Contains(part.Members, client.Member{Node: node})
		})
	})
}

// Undrain ends a drain.
func (p *Processes) Undrain(ctx context.Context, node string) error {
	return p.order(ctx, node, "undrain")
}

// Leave has a node leave the cluster and end.
func (p *Processes) Leave(ctx context.Context, node string) error {
	i, err := p.cluster.Index(node)
	if err != nil {
		return err
	}
	if err := p.order(ctx, node, "decommission?timeout=5s"); err != nil {
		return err
	}
	return p.cluster.Left(ctx, i)
}

// order has the cluster do something with a node, the one that has this ID now.
func (p *Processes) order(ctx context.Context, node, what string) error {
	var raftID string
	if err := p.await(ctx, node+" to be known", func(s *client.Status) bool {
		for _, n := range s.Nodes {
			if n.ID == node {
				raftID = n.RaftID
			}
		}
		return raftID != ""
	}); err != nil {
		return err
	}
	return p.ask(ctx, node, "/nodes/"+url.PathEscape(raftID)+"/"+what)
}

// ask sends a request of the administration to one node after the other, but not
// to that which it is about, again and again until it is done or ctx ends, as the
// answers ask for.
func (p *Processes) ask(ctx context.Context, node, path string) error {
	for {
		var failure error
		for _, n := range p.cluster.Nodes() {
			if n.HasLeft() || n.ID == node || !n.Running() {
				continue
			}
			status, body, err := post(ctx, n.HTTPAddr, path)
			switch {
			case err != nil:
				failure = err
			case status == http.StatusNoContent, status == http.StatusOK:
				return nil
			default:
				failure = fmt.Errorf("%s answered %d: %s", n.HTTPAddr, status, body)
			}
		}
		select {
		case <-time.After(pollInterval):
		case <-ctx.Done():
			return fmt.Errorf("POST %s: %w (%w)", path, failure, context.Cause(ctx))
		}
	}
}

const maxAnswer = 4 << 10

func post(ctx context.Context, addr, path string) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, attemptWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+path, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return resp.StatusCode, body, err
}

// await waits for a state of the cluster.
func (p *Processes) await(ctx context.Context, what string, reached func(*client.Status) bool) error {
	for {
		status, err := p.Status(ctx)
		if err == nil && reached(status) {
			return nil
		}
		select {
		case <-time.After(pollInterval):
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, context.Cause(ctx))
		}
	}
}
