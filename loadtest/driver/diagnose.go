package driver

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// endpoint is a node that is asked how it is.
type endpoint struct {
	id, addr string
	running  bool
}

const (
	askWithin = 2 * time.Second
	// maxTold bounds what is told of one answer.
	maxTold = 2 << 10
)

// diagnose asks every node whether it lives and is ready, and the first one that
// answers for the nodes, as the cluster sees them, and for the moves that wait.
func diagnose(ctx context.Context, nodes []endpoint) string {
	var b strings.Builder
	var cluster, moves string
	for _, n := range nodes {
		if !n.running {
			fmt.Fprintf(&b, "%s: its process does not run\n", n.id)
			continue
		}
		fmt.Fprintf(&b, "%s: GET /livez: %s\n", n.id, get(ctx, n.addr, "/livez"))
		fmt.Fprintf(&b, "%s: GET /readyz?verbose: %s\n", n.id, get(ctx, n.addr, "/readyz?verbose"))
		if cluster == "" {
			cluster = members(ctx, n.addr)
		}
		if moves == "" {
			moves = get(ctx, n.addr, "/moves")
		}
	}
	fmt.Fprintf(&b, "nodes: %s\nmoves: %s", cluster, moves)
	return b.String()
}

// members says how the nodes are in the eyes of one, "" if it does not answer.
func members(ctx context.Context, addr string) string {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	body, err := fetch(ctx, addr, "/nodes", maxAnswer<<6)
	var answer struct {
		Nodes []struct {
			ID       string `json:"id"`
			Alive    bool   `json:"alive"`
			Draining bool   `json:"draining"`
			Stopping bool   `json:"stopping"`
		} `json:"nodes"`
	}
	if err != nil || json.Unmarshal(body, &answer) != nil {
		return ""
	}
	var all []string
	for _, n := range answer.Nodes {
		words := []string{n.ID}
		for _, s := range []struct {
			so   bool
			word string
		}{{n.Alive, "alive"}, {!n.Alive, "without a session"}, {n.Draining, "draining"}, {n.Stopping, "stopping"}} {
			if s.so {
				words = append(words, s.word)
			}
		}
		all = append(all, strings.Join(words, " "))
	}
	return strings.Join(all, "; ")
}

// get returns an answer, or why there is none, in one line.
func get(ctx context.Context, addr, path string) string {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	body, err := fetch(ctx, addr, path, maxTold)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(body))
}

// fetch returns the body of an answer, whatever its status.
func fetch(ctx context.Context, addr, path string, most int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(io.LimitReader(resp.Body, most))
}

// Diagnose says how the nodes are.
func (p *Processes) Diagnose(ctx context.Context) string {
	var nodes []endpoint
	for _, n := range p.cluster.Nodes() {
		if !n.HasLeft() {
			nodes = append(nodes, endpoint{n.ID, n.HTTPAddr, n.Running()})
		}
	}
	return diagnose(ctx, nodes)
}

// Diagnose says how the nodes are.
func (c *Containers) Diagnose(ctx context.Context) string {
	var nodes []endpoint
	for _, n := range c.nodes {
		nodes = append(nodes, endpoint{n.name, n.addr, c.running(ctx, n.name)})
	}
	return diagnose(ctx, nodes)
}
