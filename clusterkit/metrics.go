package clusterkit

import (
	"errors"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/skshohagmiah/clusterkit/clusterkit/placement"
)

// metrics are those of one node. What is not counted is read at the moment of
// a scrape.
type metrics struct {
	ck   *ClusterKit
	seen *mapCounters
}

var (
	metricMapVersion = desc("map_version", "Version of the cluster map that this node knows, 0 before the first.")
	metricNodes      = desc("nodes", "Nodes in the map, by whether their session is open.", "state")
	metricDraining   = desc("draining_nodes", "Nodes in the map that are being emptied, or are empty.")
	metricPartitions = desc("partitions", "Partitions of this node, by its role.", "role")
	metricHealth     = desc("cluster_partitions", "Partitions of the cluster, by condition; a partition can be in several.", "condition")
	metricForced     = desc("accepted_data_losses_total", "Partitions that an operator had served without a complete copy.")
	metricMoves      = desc("moves", "What is left to be moved, by kind and by whether it goes on.", "kind", "state")
	metricPaused     = desc("moves_paused", "1 while moves are paused.")
	metricCopies     = desc("hook_copies", "Copies on this node that hooks are called for, by how far they are.", "phase")
	metricLease      = desc("lease_held", "1 while this node may act in its roles.")
	metricLeaseLeft  = desc("lease_remaining_seconds", "How long this node may act in its roles if its session is not renewed.")
	metricRenewals   = desc("session_renewals_total", "Attempts to renew this node's session, by result.", "result")
	metricLeader     = desc("raft_leader", "1 while this node is the Raft leader.")
	metricTerm       = desc("raft_term", "Raft's term.")
	metricApplied    = desc("raft_applied_index", "Index of the last entry applied.")
	metricCommitted  = desc("raft_commit_index", "Index of the last entry that this node knows to be committed.")
	metricContact    = desc("raft_last_contact_seconds", "Time since this node last heard from the Raft leader, 0 on the leader itself.")
	metricServers    = desc("raft_servers", "Raft servers, by whether they vote.", "suffrage")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("clusterkit_"+name, help, labels, nil)
}

// Describe is for [prometheus.Collector], as Collect.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		metricMapVersion, metricNodes, metricDraining, metricPartitions, metricHealth, metricForced, metricMoves, metricPaused, metricCopies,
		metricLease, metricLeaseLeft, metricRenewals,
		metricLeader, metricTerm, metricApplied, metricCommitted, metricContact, metricServers,
	} {
		ch <- d
	}
	m.seen.Describe(ch)
	m.ck.api.requests.Describe(ch)
}

// scrape collects what is read at that moment.
type scrape chan<- prometheus.Metric

func (s scrape) gauge(d *prometheus.Desc, value float64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func (s scrape) counter(d *prometheus.Desc, value uint64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
}

func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.seen.Collect(ch)
	m.ck.api.requests.Collect(ch)
	s := scrape(ch)
	s.session(m.ck)
	if r := m.ck.book.raft.Load(); r != nil {
		s.raft(r)
	}
	current := m.ck.Map()
	if current == nil {
		s.gauge(metricMapVersion, 0)
		return
	}
	s.cluster(current, m.ck.GetMyNodeID())
	s.moves(current)
	s.copies(m.ck.ownCopies())
}

func (s scrape) session(ck *ClusterKit) {
	s.gauge(metricLease, boolMetric(ck.HoldsLease()))
	s.gauge(metricLeaseLeft, ck.leaseLeft().Seconds())
	s.counter(metricRenewals, ck.session.renewals.Load(), "ok")
	s.counter(metricRenewals, ck.session.failures.Load(), "error")
}

// leaseLeft is 0 where this node holds no lease.
func (ck *ClusterKit) leaseLeft() time.Duration {
	l := ck.session.lease.Load()
	if l == nil || !ck.HoldsLease() {
		return 0
	}
	return max(0, l.until-ck.clock.Now())
}

func (s scrape) raft(r *raft.Raft) {
	leads := r.State() == raft.Leader
	s.gauge(metricLeader, boolMetric(leads))
	s.gauge(metricTerm, float64(r.CurrentTerm()))
	s.gauge(metricApplied, float64(r.AppliedIndex()))
	s.gauge(metricCommitted, float64(r.CommitIndex()))
	if contact := r.LastContact(); leads {
		s.gauge(metricContact, 0)
	} else if !contact.IsZero() {
		s.gauge(metricContact, time.Since(contact).Seconds())
	}
	voters, others := 0, 0
	for _, server := range r.GetConfiguration().Configuration().Servers {
		if server.Suffrage == raft.Voter {
			voters++
		} else {
			others++
		}
	}
	s.gauge(metricServers, float64(voters), "voter")
	s.gauge(metricServers, float64(others), "nonvoter")
}

func (s scrape) cluster(m *Map, self string) {
	stats := summarize(m)
	s.gauge(metricMapVersion, float64(m.Version))
	s.gauge(metricNodes, float64(stats.aliveNodes), "alive")
	s.gauge(metricNodes, float64(len(m.Nodes)-stats.aliveNodes), "dead")
	draining := 0
	for _, n := range m.Nodes {
		if n.Draining {
			draining++
		}
	}
	s.gauge(metricDraining, float64(draining))
	s.gauge(metricHealth, float64(stats.Unavailable), "unavailable")
	s.gauge(metricHealth, float64(stats.WithoutPrimary), "without_primary")
	s.gauge(metricHealth, float64(stats.UnderReplicated), "under_replicated")
	s.gauge(metricHealth, float64(stats.Moving), "moving")
	forced := uint64(0)
	for i := range m.Partitions {
		forced += m.Partitions[i].Forced
	}
	s.counter(metricForced, forced)
	own := m.rolesOf(self)
	s.gauge(metricPartitions, float64(own.Primaries), "primary")
	s.gauge(metricPartitions, float64(own.Replicas), "replica")
	s.gauge(metricPartitions, float64(own.Learners), "learner")
}

func (s scrape) moves(m *Map) {
	s.gauge(metricPaused, boolMetric(m.Paused))
	running, waiting := make(map[placement.StepKind]int), make(map[placement.StepKind]int)
	for _, move := range m.Moves() {
		if move.Waiting == "" {
			running[move.Kind]++
		} else {
			waiting[move.Kind]++
		}
	}
	for _, kind := range []placement.StepKind{placement.StepCopy, placement.StepHandOver, placement.StepRelease} {
		s.gauge(metricMoves, float64(running[kind]), string(kind), "running")
		s.gauge(metricMoves, float64(waiting[kind]), string(kind), "waiting")
	}
}

func (s scrape) copies(copies []copyStats) {
	phases := make(map[copyPhase]int)
	for _, c := range copies {
		phases[c.Phase]++
	}
	for _, phase := range []copyPhase{copyQueued, copyRunning, copyFailed, copyReturned} {
		s.gauge(metricCopies, float64(phases[phase]), string(phase))
	}
}

func boolMetric(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// register adds the metrics to the registry of the options.
func (m *metrics) register() error {
	if err := m.ck.opts.Registerer.Register(m); err != nil {
		if errors.As(err, new(prometheus.AlreadyRegisteredError)) {
			return fieldError("Registerer", "another node's clusterkit metrics are registered there: give each node in the process a registry, or wrap it with a label")
		}
		return fieldError("Registerer", "%v", err)
	}
	return nil
}

func (m *metrics) unregister() { m.ck.opts.Registerer.Unregister(m) }
