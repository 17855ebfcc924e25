package resp

import "strings"

// command is one that clients know by name.
type command struct {
	name string
	// arity counts the arguments, the name included; at least as many as its
	// absolute value if it is negative.
	arity int
	// flags are those that COMMAND tells of.
	flags []string
	// first, last and step say where the keys stand, counted from the end if
	// last is negative; 0 if there are none.
	first, last, step int
	// Either ask makes a request to the store of the command, or control is what
	// the connection itself does, when nothing is under way.
	ask     func(q *request, args [][]byte) error
	control func(c *client, args [][]byte)
	// get is the one command that has a shorter way.
	get bool
	// ends are the commands that a transaction does not put off.
	ends bool
}

func (cmd *command) takes(args int) bool {
	return args == cmd.arity || cmd.arity < 0 && args >= -cmd.arity
}

// longestName is more than the longest name has.
const longestName = 16

// lookup returns the command of that name, whatever its case, or nil.
func (s *Server) lookup(name []byte) *command {
	var lower [longestName]byte
	if len(name) > longestName {
		return nil
	}
	for i, b := range name {
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		lower[i] = b
	}
	return s.commands[string(lower[:len(name)])]
}

var (
	reads    = []string{"readonly", "fast"}
	writes   = []string{"write", "denyoom", "fast"}
	controls = []string{"loading", "stale", "fast"}
)

// commandTable returns all commands by name.
func commandTable() map[string]*command {
	table := map[string]*command{}
	for _, cmd := range []command{
		{name: "get", arity: 2, flags: reads, first: 1, last: 1, step: 1, ask: askGet, get: true},
		{name: "mget", arity: -2, flags: reads, first: 1, last: -1, step: 1, ask: askMGet},
		{name: "strlen", arity: 2, flags: reads, first: 1, last: 1, step: 1, ask: askStrlen},
		{name: "exists", arity: -2, flags: reads, first: 1, last: -1, step: 1, ask: askExists},
		{name: "type", arity: 2, flags: reads, first: 1, last: 1, step: 1, ask: askType},
		{name: "ttl", arity: 2, flags: reads, first: 1, last: 1, step: 1, ask: askTTL},
		{name: "pttl", arity: 2, flags: reads, first: 1, last: 1, step: 1, ask: askPTTL},

		{name: "set", arity: -3, flags: writes, first: 1, last: 1, step: 1, ask: askSet},
		{name: "setnx", arity: 3, flags: writes, first: 1, last: 1, step: 1, ask: askSetNX},
		{name: "setex", arity: 4, flags: writes, first: 1, last: 1, step: 1, ask: askSetEX},
		{name: "psetex", arity: 4, flags: writes, first: 1, last: 1, step: 1, ask: askPSetEX},
		{name: "mset", arity: -3, flags: writes, first: 1, last: -1, step: 2, ask: askMSet},
		{name: "msetnx", arity: -3, flags: writes, first: 1, last: -1, step: 2, ask: askMSetNX},
		{name: "getset", arity: 3, flags: writes, first: 1, last: 1, step: 1, ask: askGetSet},
		{name: "getdel", arity: 2, flags: writes, first: 1, last: 1, step: 1, ask: askGetDel},
		{name: "getex", arity: -2, flags: writes, first: 1, last: 1, step: 1, ask: askGetEX},
		{name: "append", arity: 3, flags: writes, first: 1, last: 1, step: 1, ask: askAppend},
		{name: "del", arity: -2, flags: writes, first: 1, last: -1, step: 1, ask: askDel},
		{name: "unlink", arity: -2, flags: writes, first: 1, last: -1, step: 1, ask: askDel},
		{name: "incr", arity: 2, flags: writes, first: 1, last: 1, step: 1, ask: askIncr},
		{name: "decr", arity: 2, flags: writes, first: 1, last: 1, step: 1, ask: askDecr},
		{name: "incrby", arity: 3, flags: writes, first: 1, last: 1, step: 1, ask: askIncrBy},
		{name: "decrby", arity: 3, flags: writes, first: 1, last: 1, step: 1, ask: askDecrBy},
		{name: "expire", arity: 3, flags: writes, first: 1, last: 1, step: 1, ask: askExpire},
		{name: "pexpire", arity: 3, flags: writes, first: 1, last: 1, step: 1, ask: askPExpire},
		{name: "expireat", arity: 3, flags: writes, first: 1, last: 1, step: 1, ask: askExpireAt},
		{name: "pexpireat", arity: 3, flags: writes, first: 1, last: 1, step: 1, ask: askPExpireAt},
		{name: "persist", arity: 2, flags: writes, first: 1, last: 1, step: 1, ask: askPersist},

		{name: "multi", arity: 1, flags: controls, control: (*client).multi, ends: true},
		{name: "exec", arity: 1, flags: controls, control: (*client).exec, ends: true},
		{name: "discard", arity: 1, flags: controls, control: (*client).discard, ends: true},
		{name: "watch", arity: -2, flags: controls, first: 1, last: -1, step: 1, control: (*client).watch, ends: true},
		{name: "unwatch", arity: 1, flags: controls, control: (*client).unwatch},

		{name: "ping", arity: -1, flags: controls, control: (*client).ping},
		{name: "echo", arity: 2, flags: controls, control: (*client).echo},
		{name: "quit", arity: -1, flags: controls, control: (*client).bye, ends: true},
		{name: "hello", arity: -1, flags: controls, control: (*client).hello},
		{name: "client", arity: -2, flags: controls, control: (*client).self},
		{name: "command", arity: -1, flags: controls, control: (*client).describe},
		{name: "select", arity: 2, flags: controls, control: (*client).selectDB},
		{name: "readonly", arity: 1, flags: controls, control: (*client).readMode},
		{name: "readwrite", arity: 1, flags: controls, control: (*client).readMode},
		{name: "info", arity: -1, flags: controls, control: (*client).info},
		{name: "cluster", arity: -2, flags: controls, control: (*client).cluster},
	} {
		table[cmd.name] = &cmd
	}
	return table
}

// is reports whether an argument is that word, whatever its case.
func is(arg []byte, word string) bool { return strings.EqualFold(string(arg), word) }
