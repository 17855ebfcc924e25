// Package command evaluates what clients ask for: from commands and the state
// of their keys it makes the answer, and the effects that go into the log. It
// is arithmetic, without a clock or I/O: the primary evaluates once, and the
// replicas take the effects.
package command

import (
	"errors"
	"math"
	"slices"
	"strconv"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/op"
)

// Position is the version of a value: the place in the log of the write that
// made it.
type Position struct{ Epoch, LSN uint64 }

// String is the version as clients see it.
func (p Position) String() string {
	return strconv.FormatUint(p.Epoch, 10) + "." + strconv.FormatUint(p.LSN, 10)
}

// Item is the state of a key.
type Item struct {
	Found   bool
	Data    []byte
	Expires uint64
	Version Position
}

// ItemOf is the state in which an operation, in an entry at the position,
// leaves its key.
func ItemOf(o op.Op, at Position) Item {
	if o.Kind == op.Delete {
		return Item{}
	}
	return Item{Found: true, Data: o.Value, Expires: o.Expires, Version: at}
}

func (i Item) expired(clock uint64) bool { return i.Found && i.Expires != 0 && i.Expires <= clock }

// Look returns the state of a key, as [UserKey] has it. Its error ends the
// evaluation.
type Look func(key []byte) (Item, error)

// Outcome is what a batch does.
type Outcome struct {
	// Ops are its effects; there are none if it only reads. Deletions of values
	// that have expired, and what is remembered, are among them also if the batch
	// is refused: the answer rests on them.
	Ops []op.Op
	// Refused is why nothing is executed that the batch asked for, nil if it is.
	Refused *api.Error
	// Changes reports whether Ops have anything that the batch asked for.
	Changes bool
	// Results has one for each command. A version that the batch itself makes
	// is not in it: see [Outcome.Written].
	Results []api.Result
	// expired are those of Ops that delete what has expired.
	expired []op.Op
	// written are the results whose version is that of the entry.
	written []int
}

// Written completes the results once the position of the entry is known.
func (o *Outcome) Written(at Position) {
	version := at.String()
	for _, i := range o.written {
		o.Results[i].Version = version
	}
}

// ErrRetry is what a [Look] returns that cannot say: the batch is to be
// evaluated again.
var ErrRetry = errors.New("the state of a key is not at hand")

// Evaluate returns what the batch does to the state that look shows at the
// clock, in milliseconds. It looks only at keys whose state matters, at each
// once. A value that has expired counts as absent and is deleted, so that it
// is absent on every later primary. Errors are those of look, and of a
// remembered outcome that cannot be read. The batch must have passed [Check].
func Evaluate(b api.Batch, clock uint64, look Look) (Outcome, error) {
	if b.ID == nil || onlyReads(b.Commands) {
		return evaluate(b.Commands, clock, look)
	}
	key := rememberedKey(*b.ID)
	before, err := look(key)
	if err != nil {
		return Outcome{}, err
	}
	if before.Found && !before.expired(clock) {
		return recall(before)
	}
	o, err := evaluate(b.Commands, clock, look)
	if err != nil {
		return Outcome{}, err
	}
	// Also an outcome without effects is remembered: an earlier attempt may
	// still be on its way, and must not be executed when this one was refused.
	remember := op.Op{Kind: op.Set, Key: key, Value: o.memory(), Expires: clock + api.RememberedFor}
	if err := bounded(&o, remember); err != nil {
		o.refuse(err)
		remember.Value = o.memory()
	}
	o.Ops = append(o.Ops, remember)
	return o, nil
}

func onlyReads(commands []api.Command) bool {
	for i := range commands {
		if commands[i].Op != api.OpGet {
			return false
		}
	}
	return true
}

// maxEntry bounds what a batch writes, by a count that is above that of the
// storage, which puts an entry into one transaction. maxAnswer bounds what it
// answers.
const (
	maxEntry  = 2 << 20
	maxAnswer = api.MaxAnswerBytes
)

func cost(ops []op.Op) int {
	const overhead = 96
	total := 0
	for _, o := range ops {
		total += 2*len(o.Key) + len(o.Value) + overhead
	}
	return total
}

// bounded returns an error if values that the batch did not bring itself make
// it too large, together with more operations.
func bounded(o *Outcome, more ...op.Op) *api.Error {
	if size := cost(o.Ops) + cost(more); size > maxEntry {
		return api.Errorf(api.CodeTooLarge, "commands: together they would write %d bytes, at most %d are allowed: use smaller batches", size, maxEntry)
	}
	answer := 0
	for i := range o.Results {
		answer += len(o.Results[i].Value)
	}
	if answer > maxAnswer {
		return api.Errorf(api.CodeTooLarge, "commands: the answer would have %d bytes, at most %d are allowed: use smaller batches", answer, maxAnswer)
	}
	return nil
}

// refuse leaves nothing of the outcome but the deletions of what has expired.
func (o *Outcome) refuse(err *api.Error) {
	*o = Outcome{Ops: o.expired, Refused: err, expired: o.expired}
}

func evaluate(commands []api.Command, clock uint64, look Look) (Outcome, error) {
	e := evaluation{clock: clock, look: look, results: make([]api.Result, len(commands))}
	for i := range commands {
		err := e.run(i, &commands[i])
		if err == nil {
			continue
		}
		refused := (*api.Error)(nil)
		if !errors.As(err, &refused) {
			return Outcome{}, err
		}
		if len(commands) > 1 {
			refused = refused.With("command", strconv.Itoa(i))
		}
		return Outcome{Ops: e.expired, Refused: refused, expired: e.expired}, nil
	}
	o := Outcome{Ops: e.ops, Results: e.results, Changes: e.changes, expired: e.expired, written: e.written}
	if len(commands) > 1 {
		if err := bounded(&o); err != nil {
			o.refuse(err)
		}
	}
	return o, nil
}

type evaluation struct {
	clock uint64
	look  Look
	// seen has the state of the keys as the batch has left it; nil while there
	// is but one command.
	seen    map[string]*state
	ops     []op.Op
	expired []op.Op
	changes bool
	results []api.Result
	written []int
}

// state is an item, and whether this batch wrote it.
type state struct {
	Item
	own bool
}

// at returns the state of a key.
func (e *evaluation) at(key []byte) (*state, error) {
	if s := e.seen[string(key)]; s != nil {
		return s, nil
	}
	item, err := e.look(key)
	if err != nil {
		return nil, err
	}
	if item.expired(e.clock) {
		item = Item{}
		e.expired = append(e.expired, op.Op{Kind: op.Delete, Key: key})
		e.ops = append(e.ops, op.Op{Kind: op.Delete, Key: key})
	}
	return e.remember(key, state{Item: item}), nil
}

func (e *evaluation) remember(key []byte, s state) *state {
	if len(e.results) > 1 {
		if e.seen == nil {
			e.seen = make(map[string]*state, len(e.results))
		}
		e.seen[string(key)] = &s
	}
	return &s
}

func (e *evaluation) run(i int, c *api.Command) error {
	r, key := &e.results[i], UserKey(c.Key)
	if blind(c) {
		if c.Op == api.OpSet {
			e.set(i, key, c.Value, e.expiry(c.TTL))
		} else {
			e.delete(key)
		}
		return nil
	}
	s, err := e.at(key)
	if err != nil {
		return err
	}
	if err := met(c, s); err != nil {
		return err
	}
	r.Found = s.Found
	switch c.Op {
	case api.OpGet:
		r.Value = s.Data
		e.describe(i, s)
	case api.OpSet:
		if c.Report {
			r.Value = s.Data
		}
		expires := e.expiry(c.TTL)
		if c.KeepTTL {
			expires = s.Expires
		}
		e.set(i, key, c.Value, expires)
	case api.OpDelete:
		if c.Report {
			r.Value = s.Data
		}
		if s.Found {
			e.delete(key)
		}
	case api.OpIncrement:
		number, err := increment(s.Item, c.Delta)
		if err != nil {
			return err
		}
		r.Number, r.Value = number, strconv.AppendInt(nil, number, 10)
		e.set(i, key, r.Value, s.Expires)
	case api.OpAppend:
		if len(s.Data)+len(c.Value) > api.MaxValueBytes {
			return api.Errorf(api.CodeTooLarge, "value: it would have %d bytes, at most %d are allowed", len(s.Data)+len(c.Value), api.MaxValueBytes)
		}
		r.Value = append(slices.Clip(s.Data), c.Value...)
		e.set(i, key, r.Value, s.Expires)
	case api.OpExpire:
		if s.Found {
			e.set(i, key, s.Data, e.expiry(c.TTL))
		}
	}
	return nil
}

// blind commands do not depend on the state of their key.
func blind(c *api.Command) bool {
	return c.If == api.IfAny && !c.Report && !c.KeepTTL && (c.Op == api.OpSet || c.Op == api.OpDelete)
}

func (e *evaluation) expiry(ttl int64) uint64 {
	if ttl == 0 {
		return 0
	}
	return e.clock + uint64(ttl)
}

// describe fills in what a reader is told of a value.
func (e *evaluation) describe(i int, s *state) {
	r := &e.results[i]
	switch {
	case s.own:
		e.written = append(e.written, i)
	case s.Found:
		r.Version = s.Version.String()
	}
	if s.Found && s.Expires != 0 {
		r.TTL = int64(s.Expires - e.clock)
	}
}

func (e *evaluation) set(i int, key, value []byte, expires uint64) {
	e.changes = true
	e.ops = append(e.ops, op.Op{Kind: op.Set, Key: key, Value: value, Expires: expires})
	e.written = append(e.written, i)
	e.remember(key, state{Item{Found: true, Data: value, Expires: expires}, true})
}

func (e *evaluation) delete(key []byte) {
	e.changes = true
	e.ops = append(e.ops, op.Op{Kind: op.Delete, Key: key})
	e.remember(key, state{})
}

// met returns the error of a condition that is not met.
func met(c *api.Command, s *state) error {
	switch {
	case c.If == api.IfAbsent && s.Found:
		return api.Errorf(api.CodeConditionFailed, "the key has a value").With("version", s.version())
	case c.If == api.IfPresent && !s.Found:
		return api.Errorf(api.CodeConditionFailed, "the key has no value")
	case c.If != api.IfVersion:
		return nil
	case !s.Found:
		return api.Errorf(api.CodeConditionFailed, "the key has no value")
	case s.version() != c.Version:
		return api.Errorf(api.CodeConditionFailed, "the value has another version").With("version", s.version())
	}
	return nil
}

// version is "" for a value that the batch itself has written: nobody can know
// its version yet.
func (s *state) version() string {
	if s.own {
		return ""
	}
	return s.Version.String()
}

func increment(item Item, delta int64) (int64, error) {
	before := int64(0)
	if item.Found {
		var err error
		if before, err = strconv.ParseInt(string(item.Data), 10, 64); err != nil {
			return 0, api.Errorf(api.CodeBadRequest, "value: it is not a whole number of 64 bits, nothing can be added").With("reason", api.ReasonNotANumber)
		}
	}
	if delta > 0 && before > math.MaxInt64-delta || delta < 0 && before < math.MinInt64-delta {
		return 0, api.Errorf(api.CodeBadRequest, "delta: %d and %d do not add up to a number of 64 bits", before, delta).With("reason", api.ReasonOverflow)
	}
	return before + delta, nil
}
