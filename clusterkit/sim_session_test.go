package clusterkit

import (
	"errors"
	"time"

	"github.com/hashicorp/raft"
)

// What a node does for its session and its roles, as the loops in session.go,
// propose.go and handover.go do it.

func (n *simNode) awaitMap() {
	if n.m == nil {
		n.sleep(20*time.Millisecond, n.awaitMap)
		return
	}
	n.open()
}

// open registers the node, and again until its session is open.
func (n *simNode) open() {
	if n.stopping {
		return
	}
	d := n.w.between(100*time.Microsecond, 5*time.Millisecond)
	if !n.w.healing && n.w.chance(0.02) {
		d = n.w.between(0, 500*time.Millisecond)
	}
	n.later(d, func() {
		incarnation := n.tenure.session.Incarnation
		n.incarnation = incarnation
		n.step(func() {
			n.session = incarnation
			n.propose(registerCommand{Node: n.self(incarnation), DropCopies: !n.w.opt.managed}, func(verdict result, err error) {
				n.tenure.registered(verdict, err)
				switch {
				case n.tenure.open:
					n.w.say("%s has opened session %d", n.name, incarnation)
					n.keep()
				case errors.Is(err, errStaleIncarnation):
					n.open()
				case errors.Is(err, ErrJoinRefused):
					n.leave()
				case errors.Is(err, ErrUnknown):
					n.sleep(minRetryDelay, n.open)
				default:
					n.sleep(maxRetryDelay, n.open)
				}
			})
		})
	})
}

// self is this node as it sees itself, which may be what it has read in the log of
// a node that had its ID before.
func (n *simNode) self(incarnation uint64) Node {
	self := Node{ID: n.name, Store: n.store, RaftID: n.raftID, RaftAddr: n.name + ":1", Incarnation: incarnation}
	if n.m == nil {
		return self
	}
	if known := n.m.Node(n.name); known != nil {
		self.Draining = known.Draining
	}
	return self
}

// server is the node in Raft's configuration.
func (n *simNode) server(suffrage raft.ServerSuffrage) raft.Server {
	return raft.Server{ID: raft.ServerID(n.raftID), Suffrage: suffrage, Address: raft.ServerAddress(peerAddr(n.raftID, n.name+":1"))}
}

// keep renews the session until it was ended.
func (n *simNode) keep() {
	if n.stopping {
		return
	}
	asked := n.clock()
	n.step(func() {
		n.renew(renewRequest{Session: n.tenure.session, Applied: uint64(n.applied)}, func(resp renewResponse, err error) {
			n.decided(func() {
				answered := n.clock()
				if n.stopping {
					return
				}
				if err != nil {
					n.sleep(DefaultLeaseDuration/renewalsPerLease/10, n.keep)
					return
				}
				was := n.tenure.session
				n.tenure.renewed(n.w.opt.broken.asked(asked, answered), resp)
				if !n.tenure.open {
					n.tenure = n.w.opt.broken.ended(n.tenure, was)
					n.open()
					return
				}
				n.lease = n.tenure.lease
				n.sleep(resp.Again, n.keep)
			})
		})
	})
}

// renew asks the leader, here or elsewhere, until the node hears of another.
func (n *simNode) renew(req renewRequest, done func(renewResponse, error)) {
	serve := func(leader *simNode, reply func(renewResponse)) {
		if k := leader.keeper(); k != nil {
			k.renew(req, reply)
		} else {
			reply(renewResponse{Code: codeNoLeader})
		}
	}
	finish := func(resp renewResponse, err error) {
		if err == nil && resp.Code != codeOK {
			err = errorOf(resp.Code, resp.Message)
		}
		done(resp, err)
	}
	leader := n.leader
	if n.keeper() != nil {
		leader = n
	}
	if leader == nil || leader == n && n.keeper() == nil {
		n.step(func() { finish(renewResponse{}, ErrNoLeader) })
		return
	}
	finish = whileSimLeads(n, leader, finish)
	simCall(n, leader, DefaultLeaseDuration, func(reply func(renewResponse)) { serve(leader, reply) }, finish)
}

// whileSimLeads has the call end when the node hears of another leader.
func whileSimLeads[A any](n, leader *simNode, finish func(A, error)) func(A, error) {
	ended := false
	end := func(a A, err error) {
		if !ended {
			ended = true
			finish(a, err)
		}
	}
	if leader != n {
		n.abandon = func() { end(*new(A), ErrUnknown) }
	}
	return end
}

// simVerdict is the answer to a proposal.
type simVerdict struct {
	verdict result
	err     error
}

// propose brings a command to the leader, and tries again for as long as it is
// certain that nothing was proposed.
func (n *simNode) propose(c command, done func(result, error)) {
	n.proposeUntil(c, n.clock()+proposeTimeout, minRetryDelay, done)
}

func (n *simNode) proposeUntil(c command, deadline, delay time.Duration, done func(result, error)) {
	finish := func(a simVerdict, err error) {
		if err == nil {
			err = a.err
		}
		if err == nil && a.verdict.Code != codeOK {
			err = a.verdict.err()
		}
		if !errors.Is(err, ErrNoLeader) || n.clock() >= deadline {
			done(a.verdict, err)
			return
		}
		n.sleep(delay, func() { n.proposeUntil(c, deadline, min(2*delay, maxRetryDelay), done) })
	}
	leader := n.leader
	if n.ruling != nil {
		leader = n
	}
	if leader == nil || leader == n && n.ruling == nil {
		n.step(func() { finish(simVerdict{}, ErrNoLeader) })
		return
	}
	if _, registers := c.(registerCommand); registers {
		finish = whileSimLeads(n, leader, finish)
	}
	simCall(n, leader, max(deadline-n.clock(), time.Millisecond), func(reply func(simVerdict)) { leader.accept(c, reply) }, finish)
}

// isPrimary is IsPrimary.
func (n *simNode) isPrimary(i int) bool { return n.mayAct() && n.leads(i) }

func (n *simNode) mayAct() bool {
	return n.up && n.m != nil && !n.stopping && n.w.opt.broken.holds(n, n.lease)
}

func (n *simNode) leads(i int) bool {
	p := &n.m.Partitions[i]
	return p.Primary == n.name && p.hasInSync(n.name, n.store) && !n.ended.has(p)
}

// handOver hands one partition after the other to the wanted primary.
func (n *simNode) handOver() {
	for i := range n.m.Partitions {
		req, due := dueTransfer(n.m, &n.m.Partitions[i], n.name)
		if due && !n.stopping {
			n.hand(req, n.handOver)
			return
		}
	}
	n.handing = false
}

// hand repeats the transfer until the epoch has ended, if the map that the node
// has by now still has that epoch.
func (n *simNode) hand(req TransferRequest, then func()) {
	p := &n.m.Partitions[req.Partition]
	if p.Epoch == req.Epoch && p.Primary == req.From && n.w.opt.broken != breakGiveUp {
		n.ended = n.ended.with(req.Partition, req.Epoch)
	}
	n.step(func() {
		n.propose(transferCommand{req}, func(_ result, err error) {
			if err == nil || errors.Is(err, ErrStale) {
				n.w.result.handOvers++
				// The map shows it a little later.
				n.sleep(5*time.Millisecond, then)
				return
			}
			n.sleep(minRetryDelay, func() { n.hand(req, then) })
		})
	})
}
