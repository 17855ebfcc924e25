package clusterkit

import (
	"errors"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics reads everything at the moment of a scrape.
type metrics struct{ ck *ClusterKit }

var (
	metricMapVersion = prometheus.NewDesc("clusterkit_map_version", "Version of the cluster map that this node knows, 0 before the first.", nil, nil)
	metricNodes      = prometheus.NewDesc("clusterkit_nodes", "Nodes in the map, by whether their session is open.", []string{"state"}, nil)
	metricPartitions = prometheus.NewDesc("clusterkit_partitions", "Partitions of this node, by its role.", []string{"role"}, nil)
	metricHealth     = prometheus.NewDesc("clusterkit_cluster_partitions", "Partitions of the cluster, by condition; a partition can be in several.", []string{"condition"}, nil)
	metricLease      = prometheus.NewDesc("clusterkit_lease_held", "1 while this node may act in its roles.", nil, nil)
	metricLeader     = prometheus.NewDesc("clusterkit_raft_leader", "1 while this node is the Raft leader.", nil, nil)
	metricTerm       = prometheus.NewDesc("clusterkit_raft_term", "Raft's term.", nil, nil)
	metricApplied    = prometheus.NewDesc("clusterkit_raft_applied_index", "Index of the last entry applied.", nil, nil)
	metricRenewals   = prometheus.NewDesc("clusterkit_session_renewals_total", "Attempts to renew this node's session, by result.", []string{"result"}, nil)
)

func (m metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		metricMapVersion, metricNodes, metricPartitions, metricHealth, metricLease,
		metricLeader, metricTerm, metricApplied, metricRenewals,
	} {
		ch <- d
	}
	m.ck.api.requests.Describe(ch)
}

func (m metrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	m.ck.api.requests.Collect(ch)
	gauge(metricLease, boolMetric(m.ck.HoldsLease()))
	ch <- prometheus.MustNewConstMetric(metricRenewals, prometheus.CounterValue, float64(m.ck.session.renewals.Load()), "ok")
	ch <- prometheus.MustNewConstMetric(metricRenewals, prometheus.CounterValue, float64(m.ck.session.failures.Load()), "error")
	if r := m.ck.book.raft.Load(); r != nil {
		gauge(metricLeader, boolMetric(r.State() == raft.Leader))
		gauge(metricTerm, float64(r.CurrentTerm()))
		gauge(metricApplied, float64(r.AppliedIndex()))
	}
	current := m.ck.Map()
	if current == nil {
		gauge(metricMapVersion, 0)
		return
	}
	gauge(metricMapVersion, float64(current.Version))
	s := summarize(current)
	gauge(metricNodes, float64(s.aliveNodes), "alive")
	gauge(metricNodes, float64(len(current.Nodes)-s.aliveNodes), "dead")
	gauge(metricHealth, float64(s.WithoutPrimary), "without_primary")
	gauge(metricHealth, float64(s.UnderReplicated), "under_replicated")
	gauge(metricHealth, float64(s.Moving), "moving")
	for _, n := range s.Nodes {
		if n.Node == m.ck.GetMyNodeID() {
			gauge(metricPartitions, float64(n.Primaries), "primary")
			gauge(metricPartitions, float64(n.Replicas), "replica")
			gauge(metricPartitions, float64(n.Learners), "learner")
		}
	}
}

func boolMetric(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// register adds the metrics to the registry of the options.
func (m metrics) register() error {
	if err := m.ck.opts.Registerer.Register(m); err != nil {
		if errors.As(err, new(prometheus.AlreadyRegisteredError)) {
			return fieldError("Registerer", "another node's clusterkit metrics are registered there: give each node in the process a registry, or wrap it with a label")
		}
		return fieldError("Registerer", "%v", err)
	}
	return nil
}

func (m metrics) unregister() { m.ck.opts.Registerer.Unregister(m) }
