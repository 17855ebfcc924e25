package command

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/op"
)

// keyspace is what keys hold; it takes the effects of a batch as replicas do.
type keyspace map[string]Item

func (s keyspace) look(key []byte) (Item, error) { return s[string(key)], nil }

func (s keyspace) take(o Outcome, at Position) {
	for _, w := range o.Ops {
		if w.Kind == op.Delete {
			delete(s, string(w.Key))
		} else {
			s[string(w.Key)] = Item{Found: true, Data: w.Value, Expires: w.Expires, Version: at}
		}
	}
}

// do evaluates at the clock and takes the effects.
func (s keyspace) do(clock uint64, at Position, commands ...api.Command) ([]api.Result, error) {
	return s.batch(clock, at, api.Batch{Commands: commands})
}

func (s keyspace) batch(clock uint64, at Position, b api.Batch) ([]api.Result, error) {
	if err := Check(b); err != nil {
		return nil, err
	}
	o, err := Evaluate(b, clock, s.look)
	if err != nil {
		return nil, err
	}
	o.Written(at)
	s.take(o, at)
	if o.Refused != nil {
		return nil, o.Refused
	}
	return o.Results, nil
}

func command(o api.Op, value string) api.Command {
	return api.Command{Op: o, Key: []byte("k"), Value: []byte(value)}
}

func TestOperations(t *testing.T) {
	s := keyspace{}
	at := Position{1, 0}
	step := func(want string, c api.Command) {
		t.Helper()
		at.LSN++
		results, err := s.do(1000, at, c)
		got := fmt.Sprint(err)
		if err == nil {
			r := results[0]
			got = fmt.Sprintf("found=%t value=%q number=%d version=%s ttl=%d", r.Found, r.Value, r.Number, r.Version, r.TTL)
		}
		if got != want {
			t.Errorf("%+v:\n got %s\nwant %s", c, got, want)
		}
	}
	with := func(c api.Command, edit func(*api.Command)) api.Command {
		edit(&c)
		return c
	}
	report := func(c *api.Command) { c.Report = true }
	absent := func(c *api.Command) { c.If = api.IfAbsent }
	present := func(c *api.Command) { c.If = api.IfPresent }

	step(`found=false value="" number=0 version= ttl=0`, command(api.OpGet, ""))
	step(`the key has no value`, with(command(api.OpSet, "x"), present))
	step(`found=false value="" number=0 version=1.3 ttl=0`, with(command(api.OpSet, "one"), absent))
	step(`the key has a value`, with(command(api.OpSet, "two"), absent))
	step(`found=true value="one" number=0 version=1.3 ttl=0`, command(api.OpGet, ""))
	step(`the value has another version`, with(command(api.OpSet, "two"), func(c *api.Command) { c.If, c.Version = api.IfVersion, "1.2" }))
	step(`found=true value="one" number=0 version=1.7 ttl=0`, with(command(api.OpSet, "two"), func(c *api.Command) { c.If, c.Version, c.Report = api.IfVersion, "1.3", true }))
	step(`found=true value="two+" number=0 version=1.8 ttl=0`, command(api.OpAppend, "+"))
	step(`value: it is not a whole number of 64 bits, nothing can be added`, with(command(api.OpIncrement, ""), func(c *api.Command) { c.Delta = 1 }))
	step(`found=true value="two+" number=0 version= ttl=0`, with(command(api.OpDelete, ""), report))
	step(`found=false value="" number=0 version= ttl=0`, with(command(api.OpDelete, ""), report))
	step(`found=false value="5" number=5 version=1.12 ttl=0`, with(command(api.OpIncrement, ""), func(c *api.Command) { c.Delta = 5 }))
	step(`found=true value="-2" number=-2 version=1.13 ttl=0`, with(command(api.OpIncrement, ""), func(c *api.Command) { c.Delta = -7 }))
	step(`delta: -2 and -9223372036854775807 do not add up to a number of 64 bits`, with(command(api.OpIncrement, ""), func(c *api.Command) { c.Delta = -1<<63 + 1 }))
	step(`found=true value="" number=0 version=1.15 ttl=0`, with(command(api.OpExpire, ""), func(c *api.Command) { c.TTL = 50 }))
	step(`found=true value="-2" number=0 version=1.15 ttl=50`, command(api.OpGet, ""))
	step(`found=true value="" number=0 version=1.17 ttl=0`, with(command(api.OpSet, "3"), func(c *api.Command) { c.KeepTTL = true }))
	step(`found=true value="4" number=4 version=1.18 ttl=0`, with(command(api.OpIncrement, ""), func(c *api.Command) { c.Delta = 1 }))
	step(`found=true value="4" number=0 version=1.18 ttl=50`, command(api.OpGet, ""))
	step(`found=true value="" number=0 version=1.20 ttl=0`, with(command(api.OpExpire, ""), func(c *api.Command) {}))
	step(`found=true value="4" number=0 version=1.20 ttl=0`, command(api.OpGet, ""))
}

func TestAnExpiredValueIsDeletedBeforeAnybodyMissesIt(t *testing.T) {
	s := keyspace{}
	set := command(api.OpSet, "v")
	set.TTL = 100
	if _, err := s.do(1000, Position{1, 1}, set); err != nil {
		t.Fatal(err)
	}
	if r, err := s.do(1099, Position{1, 2}, command(api.OpGet, "")); err != nil || !r[0].Found || r[0].TTL != 1 {
		t.Fatalf("before its end: %+v, %v", r, err)
	}
	o, err := Evaluate(api.Batch{Commands: []api.Command{command(api.OpGet, "")}}, 1100, s.look)
	if err != nil || o.Results[0].Found || len(o.Ops) != 1 || o.Ops[0].Kind != op.Delete {
		t.Fatalf("at its end: %+v, %v", o, err)
	}
	absent := command(api.OpSet, "new")
	absent.If = api.IfAbsent
	if _, err := s.do(1100, Position{1, 3}, absent); err != nil {
		t.Fatalf("an expired value is in the way: %v", err)
	}
	if r, err := s.do(5000, Position{1, 4}, command(api.OpGet, "")); err != nil || string(r[0].Value) != "new" {
		t.Fatalf("%+v, %v", r, err)
	}
}

func TestABatchIsAllOrNothing(t *testing.T) {
	s := keyspace{}
	on := func(key string, c api.Command) api.Command { c.Key = []byte(key); return c }
	absent := on("b", command(api.OpSet, "2"))
	absent.If = api.IfAbsent
	read := on("a", command(api.OpGet, ""))
	results, err := s.do(1, Position{1, 1}, on("a", command(api.OpSet, "1")), absent, on("a", command(api.OpAppend, "1")), read)
	if err != nil || string(results[3].Value) != "11" || results[3].Version != "1.1" {
		t.Fatalf("each command sees those before it: %+v, %v", results, err)
	}
	before := maps.Clone(s)
	_, err = s.do(1, Position{1, 2}, on("a", command(api.OpSet, "lost")), absent)
	var refused *api.Error
	if !errors.As(err, &refused) || refused.Code != api.CodeConditionFailed || refused.Details["command"] != "1" {
		t.Fatalf("%+v", err)
	}
	if len(s) != len(before) || string(s["\x00a"].Data) != "11" {
		t.Errorf("a refused batch has changed %v to %v", before, s)
	}
	big := strings.Repeat("x", api.MaxValueBytes)
	if _, err := s.do(1, Position{1, 3}, on("big", command(api.OpSet, big))); err != nil {
		t.Fatal(err)
	}
	var grow []api.Command
	for range 4 {
		grow = append(grow, on("big", command(api.OpExpire, "")))
	}
	if _, err := s.do(1, Position{1, 4}, grow...); !errors.Is(err, api.ErrTooLarge) {
		t.Errorf("a batch that writes 4 MiB: %v", err)
	}
}

func TestARepetitionIsAnsweredFromMemory(t *testing.T) {
	s := keyspace{}
	b := api.Batch{ID: &api.RequestID{Client: "c", Seq: 7}, Commands: []api.Command{{Op: api.OpIncrement, Key: []byte("k"), Delta: 2}}}
	first, err := s.batch(1000, Position{1, 1}, b)
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.batch(1000+api.RememberedFor-1, Position{1, 2}, b)
	if err != nil || again[0].Number != 2 || again[0].Version != "1.1" || first[0].Version != "1.1" {
		t.Fatalf("first %+v, again %+v, %v", first, again, err)
	}
	b.ID = &api.RequestID{Client: "c", Seq: 8}
	if next, err := s.batch(2000, Position{1, 3}, b); err != nil || next[0].Number != 4 {
		t.Fatalf("the next request: %+v, %v", next, err)
	}
}

// An earlier attempt may still be on its way when a later one is answered: it
// must not find what that one did not.
func TestAnAnswerWithoutEffectsIsRememberedToo(t *testing.T) {
	identified := func(c api.Command) api.Batch {
		c.Key = []byte("k")
		return api.Batch{ID: &api.RequestID{Client: "c", Seq: 9}, Commands: []api.Command{c}}
	}
	set := command(api.OpSet, "new")
	t.Run("refused", func(t *testing.T) {
		s := keyspace{}
		b := identified(api.Command{Op: api.OpSet, If: api.IfPresent})
		if _, err := s.batch(1, Position{1, 1}, b); !errors.Is(err, api.ErrConditionFailed) {
			t.Fatal(err)
		}
		if _, err := s.do(2, Position{1, 2}, set); err != nil {
			t.Fatal(err)
		}
		if _, err := s.batch(3, Position{1, 3}, b); !errors.Is(err, api.ErrConditionFailed) || string(s["\x00k"].Data) != "new" {
			t.Errorf("an attempt that comes late: %v, the value is %q", err, s["\x00k"].Data)
		}
	})
	t.Run("nothing to delete", func(t *testing.T) {
		s := keyspace{}
		b := identified(api.Command{Op: api.OpDelete, Report: true})
		if _, err := s.batch(1, Position{1, 1}, b); err != nil {
			t.Fatal(err)
		}
		if _, err := s.do(2, Position{1, 2}, set); err != nil {
			t.Fatal(err)
		}
		if r, err := s.batch(3, Position{1, 3}, b); err != nil || r[0].Found || string(s["\x00k"].Data) != "new" {
			t.Errorf("an attempt that comes late: %+v, %v, the value is %q", r, err, s["\x00k"].Data)
		}
	})
	t.Run("a read", func(t *testing.T) {
		s := keyspace{}
		if _, err := s.batch(1, Position{1, 1}, identified(api.Command{Op: api.OpGet})); err != nil || len(s) != 0 {
			t.Errorf("it has written %v, %v", s, err)
		}
	})
}

// A refusal that rests on an expiry deletes what has expired: a later primary,
// whose clock is behind, must not find it again.
func TestARefusalDeletesWhatItFoundExpired(t *testing.T) {
	s := keyspace{}
	set := command(api.OpSet, "v")
	set.TTL = 100
	if _, err := s.do(1000, Position{1, 1}, set); err != nil {
		t.Fatal(err)
	}
	present := command(api.OpSet, "x")
	present.If = api.IfPresent
	other := api.Command{Op: api.OpSet, Key: []byte("other"), Value: []byte("x")}
	if _, err := s.do(1100, Position{1, 2}, other, present); !errors.Is(err, api.ErrConditionFailed) {
		t.Fatal(err)
	}
	if len(s) != 0 {
		t.Errorf("it has left %v", s)
	}
}

func TestChecks(t *testing.T) {
	long := func(n int) []byte { return bytes.Repeat([]byte("x"), n) }
	for name, tt := range map[string]struct {
		batch api.Batch
		want  string
	}{
		"no commands":     {api.Batch{}, "commands: there are 0"},
		"too many":        {api.Batch{Commands: make([]api.Command, api.MaxBatchCommands+1)}, "commands: there are 1025"},
		"unknown op":      {api.Batch{Commands: []api.Command{{Op: "sett", Key: long(1)}}}, `op: "sett" is not known`},
		"no key":          {api.Batch{Commands: []api.Command{{Op: api.OpGet}}}, "key: must not be empty"},
		"long key":        {api.Batch{Commands: []api.Command{{Op: api.OpGet, Key: long(api.MaxKeyBytes + 1)}}}, "key: 4097 bytes"},
		"long value":      {api.Batch{Commands: []api.Command{{Op: api.OpSet, Key: long(1), Value: long(api.MaxValueBytes + 1)}}}, "value: 1048576 bytes"},
		"negative ttl":    {api.Batch{Commands: []api.Command{{Op: api.OpSet, Key: long(1), TTL: -1}}}, "ttl_ms: -1"},
		"two ttls":        {api.Batch{Commands: []api.Command{{Op: api.OpSet, Key: long(1), TTL: 1, KeepTTL: true}}}, "keep_ttl"},
		"unknown if":      {api.Batch{Commands: []api.Command{{Op: api.OpSet, Key: long(1), If: "now"}}}, `if: "now"`},
		"no version":      {api.Batch{Commands: []api.Command{{Op: api.OpSet, Key: long(1), If: api.IfVersion}}}, "version: must not be empty"},
		"useless version": {api.Batch{Commands: []api.Command{{Op: api.OpSet, Key: long(1), Version: "1.1"}}}, "version: it is only compared"},
		"no client":       {api.Batch{ID: &api.RequestID{}, Commands: []api.Command{{Op: api.OpGet, Key: long(1)}}}, "id.client: 0 bytes"},
		"too large":       {api.Batch{Commands: []api.Command{{Op: api.OpSet, Key: long(1), Value: long(600 << 10)}, {Op: api.OpSet, Key: long(1), Value: long(600 << 10)}}}, "commands: keys and values"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := Check(tt.batch); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %v, want %s...", err, tt.want)
			}
		})
	}
}

// TestAgainstAModel evaluates random batches beside a model that knows strings
// only, with a clock that goes on.
func TestAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := keyspace{}
		type value struct {
			data    string
			expires uint64
		}
		model := map[string]value{}
		clock := uint64(1)
		for lsn := range uint64(rapid.IntRange(1, 40).Draw(t, "batches")) {
			clock += uint64(rapid.IntRange(0, 20).Draw(t, "time"))
			next := map[string]value{}
			for k, v := range model {
				if v.expires == 0 || v.expires > clock {
					next[k] = v
				}
			}
			model = maps.Clone(next)
			var commands []api.Command
			refused := false
			var want []string
			for range rapid.IntRange(1, 4).Draw(t, "commands") {
				key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key")
				c := api.Command{
					Op: rapid.SampledFrom([]api.Op{api.OpGet, api.OpSet, api.OpDelete, api.OpAppend, api.OpExpire}).Draw(t, "op"), Key: []byte(key),
					Value: []byte(rapid.SampledFrom([]string{"", "x", "yy"}).Draw(t, "value")),
					If:    rapid.SampledFrom([]api.Condition{api.IfAny, api.IfAny, api.IfAbsent, api.IfPresent}).Draw(t, "if"),
					TTL:   int64(rapid.IntRange(0, 15).Draw(t, "ttl")), Report: rapid.Bool().Draw(t, "report"),
				}
				commands = append(commands, c)
				v, found := next[key]
				if c.If == api.IfAbsent && found || c.If == api.IfPresent && !found {
					refused = true
					break
				}
				expires := uint64(0)
				if c.TTL != 0 {
					expires = clock + uint64(c.TTL)
				}
				answer := ""
				switch c.Op {
				case api.OpGet:
					answer = v.data
				case api.OpSet:
					next[key] = value{string(c.Value), expires}
				case api.OpDelete:
					delete(next, key)
				case api.OpAppend:
					answer = v.data + string(c.Value)
					next[key] = value{answer, v.expires}
				case api.OpExpire:
					if found {
						next[key] = value{v.data, expires}
					}
				}
				if c.Report && (c.Op == api.OpSet || c.Op == api.OpDelete) {
					answer = v.data
				}
				want = append(want, answer)
			}
			results, err := s.do(clock, Position{1, lsn + 1}, commands...)
			if refused {
				if !errors.Is(err, api.ErrConditionFailed) {
					t.Fatalf("%+v: %v, want that its condition failed", commands, err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%+v: %v", commands, err)
			}
			for i, r := range results {
				if string(r.Value) != want[i] {
					t.Fatalf("command %d of %+v: %q, want %q", i, commands, r.Value, want[i])
				}
			}
			model = next
		}
		for k, v := range model {
			got := s[string(UserKey([]byte(k)))]
			if !got.Found || string(got.Data) != v.data || got.Expires != v.expires {
				t.Fatalf("%s: %+v, want %+v", k, got, v)
			}
		}
	})
}
