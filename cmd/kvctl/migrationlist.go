package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// moves is the answer to GET /moves.
type moves struct {
	Version uint64 `json:"version"`
	Paused  bool   `json:"paused"`
	Moves   []move `json:"moves"`
}

type move struct {
	Partition string `json:"partition"`
	Index     int    `json:"index"`
	Kind      string `json:"kind"`
	Node      string `json:"node"`
	From      string `json:"from"`
	Waiting   string `json:"waiting"`
}

// migrations are the moves that are left, and what the nodes know of the copies
// that they make.
type migrations struct {
	moves
	nodes map[string]api.Migrations
	// silent are the nodes that could not be asked, and why.
	silent map[string]error
}

// migrations asks any node for the moves, and each for its copies.
func (a *admin) migrations(ctx context.Context) (*migrations, error) {
	var m moves
	if _, err := a.call(ctx, http.MethodGet, "/moves", nil, &m); err != nil {
		return nil, err
	}
	return a.withCopies(ctx, m)
}

func (a *admin) withCopies(ctx context.Context, m moves) (*migrations, error) {
	l := &migrations{moves: m, nodes: map[string]api.Migrations{}, silent: map[string]error{}}
	var known struct {
		Nodes []node `json:"nodes"`
	}
	if _, err := a.call(ctx, http.MethodGet, "/nodes", nil, &known); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, adminAttempt)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, n := range known.Nodes {
		if !n.Alive {
			continue
		}
		wg.Go(func() {
			var of api.Migrations
			_, err := a.ask(ctx, n.IP, http.MethodGet, api.PathMigrations, nil, &of)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				l.silent[n.ID] = err
			} else {
				l.nodes[n.ID] = of
			}
		})
	}
	wg.Wait()
	return l, nil
}

func (l *migrations) warn(w io.Writer) {
	for _, id := range slices.Sorted(maps.Keys(l.silent)) {
		fmt.Fprintf(w, "kvctl: the copies on %s are not shown: %v\n", id, l.silent[id])
	}
}

// row is one line of the list.
type row struct {
	move
	copying *api.Migration
}

// rows are the moves in order, and behind them the copies that are made without
// a move, as one that was away for a while.
func (l *migrations) rows() []row {
	type place struct{ partition, node string }
	open := map[place]*api.Migration{}
	for _, of := range l.nodes {
		for i := range of.Migrations {
			m := &of.Migrations[i]
			open[place{m.Partition, m.Node}] = m
		}
	}
	var all []row
	for _, m := range l.Moves {
		r := row{move: m}
		if m.Kind == "copy" {
			r.copying = open[place{m.Partition, m.Node}]
			delete(open, place{m.Partition, m.Node})
		}
		all = append(all, r)
	}
	rest := make([]row, 0, len(open))
	for _, m := range open {
		rest = append(rest, row{move: move{Partition: m.Partition, Kind: "return", Node: m.Node, From: m.Source}, copying: m})
	}
	slices.SortFunc(rest, func(a, b row) int {
		return cmp.Or(cmp.Compare(len(a.Partition), len(b.Partition)), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Node, b.Node))
	})
	return append(all, rest...)
}

// why says what the row waits for: the node that copies knows better.
func (r row) why() string {
	if r.copying != nil && r.copying.Waiting != "" {
		return r.copying.Waiting
	}
	return r.Waiting
}

// phase, progress, rate and eta are "-" where there is nothing to say.
func (r row) phase() string {
	if r.copying == nil {
		return "-"
	}
	return r.copying.Phase
}

func (r row) progress() string {
	switch c := r.copying; {
	case c == nil:
		return "-"
	case c.Total > 0:
		return fmt.Sprintf("%s %s/%s", bar(float64(c.Bytes)/float64(c.Total)), size(float64(c.Bytes)), size(float64(c.Total)))
	case c.Behind > 0:
		return fmt.Sprintf("%d entries behind", c.Behind)
	default:
		return "-"
	}
}

func (r row) rate() string {
	if r.copying == nil || r.copying.Rate < 1 {
		return "-"
	}
	return size(r.copying.Rate) + "/s"
}

func (r row) eta() string {
	if r.copying == nil || r.copying.ETA == 0 {
		return "-"
	}
	return (time.Duration(r.copying.ETA*float64(time.Second)) + time.Second).Truncate(time.Second).String()
}

// bar draws a part of a whole.
func bar(part float64) string {
	const width = 20
	part = min(max(part, 0), 1)
	full := int(part * width)
	head := ""
	if full < width {
		head = ">"
	}
	return fmt.Sprintf("[%s%s%s] %3d%%", strings.Repeat("=", full), head, strings.Repeat(" ", width-full-len(head)), int(part*100))
}

// size writes a number of bytes.
func size(bytes float64) string {
	for _, unit := range []string{"B", "KiB", "MiB", "GiB"} {
		if bytes < 1000 {
			if unit == "B" {
				return fmt.Sprintf("%.0f %s", bytes, unit)
			}
			return fmt.Sprintf("%.1f %s", bytes, unit)
		}
		bytes /= 1024
	}
	return fmt.Sprintf("%.1f TiB", bytes)
}

func (l *migrations) print(w io.Writer) error {
	if l.Paused {
		fmt.Fprintln(w, "Moves are paused.")
	}
	rows := l.rows()
	if len(rows) == 0 {
		_, err := fmt.Fprintln(w, "Everything is where it should be.")
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(tw, "PARTITION\tMOVE\tNODE\tFROM\tPHASE\tPROGRESS\tRATE\tETA\tWAITS BECAUSE")
	for _, r := range rows {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			r.Partition, r.Kind, r.Node, orDash(r.From), r.phase(), r.progress(), r.rate(), r.eta(), orDash(r.why()))
	}
	return tw.Flush()
}
