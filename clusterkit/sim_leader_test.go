package clusterkit

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// simControl is the control plane of a node that leads: what controller and
// keeper do, as a chain of steps. It goes on for a while when the leadership
// has ended, as anything does that was interrupted.
type simControl struct {
	n    *simNode
	term *simTerm
	// ended: the node was told that it does not lead any more.
	ended bool
	// next leads after this one, when that has come to its end.
	next *simTerm

	// table is nil until the leader knows everything from before.
	table *sessionTable
	// number is the term that the table is for.
	number  uint64
	waiting []simRenewal
	idle    int // counts the waits for something to do; 0 while at work

	waits     int
	deadSince map[string]time.Duration
	servers   serverWatch
	planned   planBasis
	reviewing bool
	again     bool
}

type simRenewal struct {
	req   renewRequest
	reply func(renewResponse)
}

// notified begins to lead, after what was done in an earlier term has ended.
func (n *simNode) notified(t *simTerm) {
	if t.over {
		return
	}
	if n.control != nil {
		n.control.ended = true
		n.control.next = t
		return
	}
	n.control = &simControl{n: n, term: t}
	n.control.lead()
}

// keeper returns the control plane that renews sessions, nil if there is none.
func (n *simNode) keeper() *simControl {
	if n.control == nil || n.control.table == nil {
		return nil
	}
	return n.control
}

// lead waits for a barrier and begins with a new table.
func (c *simControl) lead() {
	n := c.n
	if c.ended || c.term.over {
		c.end()
		return
	}
	number := c.term.number
	n.w.raft.propose(n, nil, nil, func(_ result, err error) {
		m := n.m
		n.step(func() {
			if err != nil || n.ruling == nil || n.ruling.number != number {
				n.sleep(maxRetryDelay, c.lead)
				return
			}
			now := n.clock()
			n.step(func() {
				n.w.say("%s keeps the sessions of term %d", n.name, number)
				c.number = number
				c.table = newSessionTable(number, m, now, !n.w.opt.managed)
				n.w.opt.broken.begun(c.table)
				c.deadSince, c.planned = make(map[string]time.Duration), planBasis{}
				c.servers = newServerWatch(raft.ServerID(n.raftID), defaultPatience)
				c.wait()
				c.review()
				c.tick(c.table)
			})
		})
	})
}

// end makes room for the next term of this node.
func (c *simControl) end() {
	c.table = nil
	c.n.control = nil
	if c.next != nil && !c.next.over {
		c.n.notified(c.next)
	}
}

// restart begins anew after an outcome that is not known.
func (c *simControl) restart() {
	for _, r := range c.waiting {
		r.reply(renewResponse{Code: codeNoLeader})
	}
	c.table, c.waiting, c.idle = nil, nil, 0
	c.n.sleep(minRetryDelay, c.lead)
}

// renew has the session renewed with the next entry.
func (c *simControl) renew(req renewRequest, reply func(renewResponse)) {
	c.waiting = append(c.waiting, simRenewal{req, reply})
	if c.idle > 0 {
		c.idle = 0
		c.n.sleep(gatherDelay, c.turn)
	}
}

// wait waits for a renewal, or until it is time to look.
func (c *simControl) wait() {
	if len(c.waiting) > 0 {
		c.n.sleep(gatherDelay, c.turn)
		return
	}
	c.waits++
	c.idle = c.waits
	wait := c.waits
	c.n.sleep(c.table.look(c.n.clock()), func() {
		if c.idle == wait {
			c.idle = 0
			c.turn()
		}
	})
}

// turn renews what has gathered, and ends what is silent.
func (c *simControl) turn() {
	n := c.n
	if c.ended {
		c.restart()
		return
	}
	batch := c.waiting
	c.waiting = nil
	if len(batch) == 0 {
		c.endSilent()
		return
	}
	requests := make([]renewRequest, len(batch))
	for i, r := range batch {
		requests[i] = r.req
	}
	n.step(func() {
		c.apply(c.table.renewal(requests), func(verdict result, err error) {
			m := n.m
			n.step(func() {
				now := n.clock()
				n.step(func() {
					verdict = n.w.opt.broken.renewed(verdict)
					for i, answer := range c.table.renewed(requests, verdict, err, m, now) {
						batch[i].reply(answer)
					}
					if err != nil {
						c.restart()
						return
					}
					c.endSilent()
				})
			})
		})
	})
}

func (c *simControl) endSilent() {
	n, m := c.n, c.n.m
	n.step(func() {
		now := n.clock()
		n.step(func() {
			ending, due := c.table.ending(m, now)
			if !due {
				c.wait()
				return
			}
			n.w.say("%s ends %v", n.name, ending.Sessions)
			n.decided(func() {
				c.apply(ending, func(_ result, err error) {
					if err != nil {
						c.restart()
						return
					}
					c.wait()
				})
			})
		})
	})
}

// apply proposes what this leader has decided. It may have been interrupted, and
// propose once more when it leads in a later term.
func (c *simControl) apply(command command, done func(result, error)) {
	if c.n.w.chance(0.1) {
		c.n.later(c.n.w.between(0, simLongestDelay), func() {
			if t := c.n.ruling; t != nil && t.number != c.number {
				c.n.w.raft.propose(c.n, command, nil, func(result, error) {})
			}
		})
	}
	c.n.w.raft.propose(c.n, command, nil, func(verdict result, err error) {
		if err == nil && verdict.Code != codeOK {
			err = verdict.err()
		}
		done(verdict, err)
	})
}

// accept proposes, as the leader, what a node has asked for, and sometimes once
// more, much later.
func (n *simNode) accept(command command, reply func(simVerdict)) {
	if err := n.objection(command); err != nil {
		reply(simVerdict{err: err})
		return
	}
	n.step(func() {
		n.w.raft.propose(n, command, nil, func(verdict result, err error) { reply(simVerdict{verdict, err}) })
	})
	if w := n.w; !w.healing && w.chance(0.1) {
		w.after(w.between(0, simLongestDelay), func() {
			if t := w.raft.newest(); t.leader.ruling == t {
				t.leader.receive(func() { w.raft.propose(t.leader, command, nil, func(result, error) {}) })
			}
		})
	}
}

// objection returns why a leader does not propose the command.
func (n *simNode) objection(command command) error {
	switch c := command.(type) {
	case registerCommand:
		if k := n.keeper(); c.DropCopies && (k == nil || !k.table.knowsOthers(n.m, c.Node, n.clock())) {
			return ErrNoLeader
		}
		if id := raft.ServerID(c.Node.RaftID); n.m != nil && n.m.wasRemoved(id) && slices.ContainsFunc(n.w.raft.servers, func(s raft.Server) bool { return s.ID == id && s.Suffrage == raft.Voter }) {
			return ErrNoLeader
		}
	case removeCommand:
		if node, _ := nodeMeant(n.m, c.Node, c.RaftID); node != nil {
			return n.m.needsVote(n.w.raft.servers, node.ID)
		}
	}
	return nil
}

// simAdmission is the answer to a node that asks to be let in.
type simAdmission struct {
	leader  *simNode
	refused bool
}

// admit lets a node in, or names the leader, or turns away a node that was
// removed.
func (n *simNode) admit(joiner *simNode, reply func(simAdmission)) {
	if n.keeper() == nil {
		reply(simAdmission{leader: n.leader})
		return
	}
	id := joiner.raftID
	_, disk, _ := strings.Cut(id, "/")
	if err := (joinRequest{Protocol: streamVersion, NodeID: joiner.name, Store: disk, RaftAddr: joiner.name + ":1"}).refusal(n.m); err != nil {
		reply(simAdmission{leader: n, refused: errors.Is(err, ErrJoinRefused)})
		return
	}
	n.w.raft.propose(n, nil, func(servers []raft.Server) []raft.Server {
		if slices.ContainsFunc(servers, func(s raft.Server) bool { return string(s.ID) == id }) {
			return servers
		}
		return append(servers, joiner.server(raft.Nonvoter))
	}, func(result, error) { reply(simAdmission{leader: n}) })
}
