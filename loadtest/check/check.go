package check

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/skshohagmiah/clusterkit/loadtest/history"
	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

// Options say how a history is checked.
type Options struct {
	// Timeout bounds the search for an order of each unit. Default one minute.
	Timeout time.Duration
	// Dir receives the history of each unit that is wrong, as lines of JSON and
	// as a drawing in HTML. It is made when it is needed. "" saves none.
	Dir string
}

const defaultTimeout = time.Minute

// History checks a history of operations. What could not be decided within its
// time is a finding too.
func History(ops []history.Operation, o Options) (*Verdict, error) {
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	begun := time.Now()
	units, err := split(ops)
	if err != nil {
		return nil, err
	}
	v := &Verdict{Units: len(units), Counts: map[Kind]int{}}
	for i := range ops {
		switch ops[i].Outcome {
		case target.OK:
			v.OK++
		case target.Failed:
			v.Failed++
		default:
			v.Unknown++
		}
	}
	found := make([][]Finding, len(units))
	errs := make([]error, len(units))
	free := make(chan struct{}, runtime.GOMAXPROCS(0))
	var running sync.WaitGroup
	for i, u := range units {
		free <- struct{}{}
		running.Go(func() {
			found[i], errs[i] = u.check(o, i)
			<-free
		})
	}
	running.Wait()
	for i := range units {
		if errs[i] != nil {
			return nil, errs[i]
		}
		v.Add(found[i]...)
	}
	v.Took = time.Since(begun)
	return v, nil
}

// check looks for an order that explains the history of a unit, and if there is
// none, for what is wrong.
func (u *unit) check(o Options, number int) ([]Finding, error) {
	m, ops := model(u.keys), u.operations()
	result := porcupine.CheckOperationsTimeout(m, ops, o.Timeout)
	found := figures(u)
	switch result {
	case porcupine.Illegal:
		found = append(found, Finding{Kind: NotLinearizable, Unit: u.name, Detail: fmt.Sprintf("no order of its %d operations explains them", len(u.ops))})
	case porcupine.Unknown:
		found = append(found, Finding{Kind: Undecided, Unit: u.name, Detail: fmt.Sprintf("no order of its %d operations was found or excluded within %v", len(u.ops), o.Timeout)})
	}
	if len(found) == 0 || o.Dir == "" {
		return found, nil
	}
	file, err := u.save(o, number, m, ops)
	for i := range found {
		found[i].File = file
	}
	return found, err
}

// operations returns the history as the search for an order takes it: without
// what has certainly no effect, and with what may take effect at any time open
// to the end.
func (u *unit) operations() []porcupine.Operation {
	end := int64(0)
	for _, o := range u.ops {
		end = max(end, int64(o.Call))
		if o.Return != history.Forever {
			end = max(end, int64(o.Return))
		}
	}
	clients := map[int]int{}
	var ops []porcupine.Operation
	for _, o := range u.ops {
		if o.Outcome == target.Failed {
			continue
		}
		id, ok := clients[o.Client]
		if !ok {
			id = len(clients)
			clients[o.Client] = id
		}
		ops = append(ops, porcupine.Operation{ClientId: id, Input: o, Call: int64(o.Call), Return: min(int64(o.Return), end+1)})
	}
	return ops
}

// save writes the history of a unit, and a drawing of how far it can be
// explained. It returns the path of both without the extension.
func (u *unit) save(o Options, number int, m porcupine.Model, ops []porcupine.Operation) (string, error) {
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return "", err
	}
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '_'
	}, u.name)
	path := filepath.Join(o.Dir, fmt.Sprintf("%d-%s", number, name[:min(len(name), maxName)]))
	all := make([]history.Operation, len(u.ops))
	for i, op := range u.ops {
		all[i] = *op
	}
	if err := history.WriteFile(path+".jsonl", all); err != nil {
		return "", err
	}
	_, info := porcupine.CheckOperationsVerbose(m, ops, o.Timeout)
	return path, porcupine.VisualizePath(m, info, path+".html")
}

const maxName = 80
