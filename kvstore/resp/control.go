package resp

import (
	"bytes"
	"fmt"
	"slices"
)

// version is that of Redis whose commands these are, for clients that decide by
// it what to send.
const version = "7.0.0"

func (c *client) ping(args [][]byte) {
	switch len(args) {
	case 1:
		c.out = appendStatus(c.out, "PONG")
	case 2:
		c.out = appendBulk(c.out, args[1])
	default:
		c.refuse(errArity("ping"))
	}
}

func (c *client) echo(args [][]byte) { c.out = appendBulk(c.out, args[1]) }

func (c *client) bye([][]byte) {
	c.out = appendOK(c.out)
	c.quit = true
}

// hello agrees on version 2 of the protocol.
func (c *client) hello(args [][]byte) {
	rest := args[1:]
	if len(rest) > 0 {
		if string(rest[0]) != "2" {
			c.refuse(refusal("NOPROTO unsupported protocol version"))
			return
		}
		rest = rest[1:]
	}
	for len(rest) > 0 {
		if !is(rest[0], "SETNAME") || len(rest) < 2 {
			c.refuse(errSyntax)
			return
		}
		c.name = string(rest[1])
		rest = rest[2:]
	}
	c.out = appendArray(c.out, 14)
	for _, field := range [...]string{"server", "redis", "version", version} {
		c.out = appendBulk(c.out, field)
	}
	c.out = appendNumber(appendBulk(c.out, "proto"), 2)
	c.out = appendNumber(appendBulk(c.out, "id"), c.id)
	for _, field := range [...]string{"mode", "cluster", "role", "master"} {
		c.out = appendBulk(c.out, field)
	}
	c.out = appendArray(appendBulk(c.out, "modules"), 0)
}

// self is CLIENT, as far as clients need it to begin.
func (c *client) self(args [][]byte) {
	switch sub := args[1]; {
	case is(sub, "SETINFO") && len(args) == 4:
		c.out = appendOK(c.out)
	case is(sub, "SETNAME") && len(args) == 3:
		if bytes.ContainsFunc(args[2], func(r rune) bool { return r <= ' ' || r > '~' }) {
			c.refuse(refusal("ERR Client names cannot contain spaces, newlines or special characters."))
			return
		}
		c.name = string(args[2])
		c.out = appendOK(c.out)
	case is(sub, "GETNAME") && len(args) == 2:
		c.out = appendBulk(c.out, c.name)
	case is(sub, "ID") && len(args) == 2:
		c.out = appendNumber(c.out, c.id)
	default:
		c.refuse(errSubcommand("client", sub))
	}
}

// selectDB takes the one database that there is in cluster mode.
func (c *client) selectDB(args [][]byte) {
	if string(args[1]) != "0" {
		c.refuse(refusal("ERR SELECT is not allowed in cluster mode"))
		return
	}
	c.out = appendOK(c.out)
}

// readMode is READONLY and READWRITE, which make no difference: only primaries
// answer, with what is committed.
func (c *client) readMode([][]byte) { c.out = appendOK(c.out) }

// describe is COMMAND: clients learn from it where keys stand.
func (c *client) describe(args [][]byte) {
	switch {
	case len(args) == 1:
		var names []string
		for name := range c.server.commands {
			names = append(names, name)
		}
		slices.Sort(names)
		c.out = appendArray(c.out, len(names))
		for _, name := range names {
			c.out = c.server.commands[name].describe(c.out)
		}
	case is(args[1], "COUNT") && len(args) == 2:
		c.out = appendNumber(c.out, int64(len(c.server.commands)))
	case is(args[1], "INFO"):
		c.out = appendArray(c.out, len(args)-2)
		for _, name := range args[2:] {
			if cmd := c.server.lookup(name); cmd != nil {
				c.out = cmd.describe(c.out)
			} else {
				c.out = append(c.out, "*-1\r\n"...)
			}
		}
	case is(args[1], "DOCS"):
		c.out = appendArray(c.out, 0)
	default:
		c.refuse(errSubcommand("command", args[1]))
	}
}

func (cmd *command) describe(dst []byte) []byte {
	dst = appendBulk(appendArray(dst, 6), cmd.name)
	dst = appendNumber(dst, int64(cmd.arity))
	dst = appendArray(dst, len(cmd.flags))
	for _, flag := range cmd.flags {
		dst = appendStatus(dst, flag)
	}
	for _, n := range [...]int{cmd.first, cmd.last, cmd.step} {
		dst = appendNumber(dst, int64(n))
	}
	return dst
}

// info is INFO, whatever the section: what clients decide by.
func (c *client) info([][]byte) {
	c.server.mu.Lock()
	clients := len(c.server.clients)
	c.server.mu.Unlock()
	c.out = appendBulk(c.out, fmt.Sprintf("# Server\r\nredis_version:%s\r\nredis_mode:cluster\r\n"+
		"# Clients\r\nconnected_clients:%d\r\nmaxclients:%d\r\n"+
		"# Replication\r\nrole:master\r\n# Cluster\r\ncluster_enabled:1\r\n",
		version, clients, c.server.opts.MaxClients))
}
