package kvstore

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/command"
	"github.com/skshohagmiah/clusterkit/kvstore/replication"
)

// metrics are what a node counts. Their labels have few values, whatever
// clients do.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	// succeeded are the metrics of each operation without an error.
	succeeded map[string]succeeded
	// rejected and stale count what other nodes sent in vain.
	rejected *prometheus.CounterVec
	stale    prometheus.Counter
	// compared counts comparisons of copies, by outcome.
	compared *prometheus.CounterVec
	migrated migrationMetrics
	// answered has how long requests take, for the pace of copies.
	answered latencies
}

// succeeded are found once, because finding a metric by its labels takes longer
// than counting.
type succeeded struct {
	requests prometheus.Counter
	duration prometheus.Observer
}

func newMetrics() *metrics {
	m := &metrics{
		migrated:  newMigrationMetrics(),
		succeeded: map[string]succeeded{},
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kvstore_requests_total",
			Help: "Requests taken by this node, forwarded ones included, by operation and error code.",
		}, []string{"op", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "kvstore_request_duration_seconds",
			Help:    "Time from taking a request to its answer, by operation.",
			Buckets: prometheus.ExponentialBuckets(100e-6, 2, 18),
		}, []string{"op"}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kvstore_replication_rejected_frames_total",
			Help: "Frames and connections of other nodes that were refused because they cannot be right, by reason.",
		}, []string{"reason"}),
		stale: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kvstore_replication_stale_messages_total",
			Help: "Messages of epochs that have passed, as those of a deposed primary.",
		}),
	}
	m.compared = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "kvstore_copy_comparisons_total",
		Help: "Copies that this node, as primary, has compared with its own, by outcome: equal, different (such a copy is made anew), undecided (tried again).",
	}, []string{"outcome"})
	for _, outcome := range outcomes {
		m.compared.WithLabelValues(outcome)
	}
	for _, op := range append([]api.Op{"batch", "scan"}, command.Operations...) {
		m.succeeded[string(op)] = succeeded{m.requests.WithLabelValues(string(op), "ok"), m.duration.WithLabelValues(string(op))}
	}
	for _, reason := range replication.Reasons {
		m.rejected.WithLabelValues(string(reason))
	}
	return m
}

// reject counts a frame or a connection that was refused.
func (m *metrics) reject(reason replication.Reason) {
	m.rejected.WithLabelValues(string(reason)).Inc()
}

// register makes the metrics known; the gauges are read from the node when
// they are asked for.
func (m *metrics) register(n *Node, to prometheus.Registerer) error {
	var errs []error
	for _, c := range []prometheus.Collector{
		m.requests, m.duration, m.rejected, m.stale, m.compared,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "kvstore_partitions",
			Help: "Partitions of which this node has a copy.",
		}, func() float64 { return float64(len(n.allReplicas())) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "kvstore_partitions_served",
			Help: "Partitions that this node serves as their primary.",
		}, func() float64 {
			served := 0
			for _, r := range n.allReplicas() {
				if r.serving.Load() != 0 {
					served++
				}
			}
			return float64(served)
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "kvstore_apply_backlog_bytes",
			Help: "What is committed and not yet in the storage.",
		}, func() float64 { return float64(n.applier.size()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "kvstore_open_scans",
			Help: "Snapshots that are kept for the next pages of scans.",
		}, func() float64 { return float64(n.scans.size()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "kvstore_damaged_partitions",
			Help: "Copies here whose data are damaged: they are made anew, or are the last of their kind.",
		}, func() float64 { return float64(len(n.storage.DamagedPartitions())) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "kvstore_scrubbed_bytes_total",
			Help: "Data verified in the background since the start.",
		}, func() float64 { bytes, _ := n.storage.Scrubbed(); return float64(bytes) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "kvstore_scrub_passes_total",
			Help: "Completed verifications of all data since the start.",
		}, func() float64 { _, passes := n.storage.Scrubbed(); return float64(passes) }),
	} {
		errs = append(errs, to.Register(c))
	}
	return errors.Join(append(errs, m.migrated.register(n, to))...)
}

// observe counts a request that began at start.
func (m *metrics) observe(op string, start time.Time, err error) {
	took := time.Since(start)
	m.answered.observe(took)
	if s, ok := m.succeeded[op]; ok && err == nil {
		s.requests.Inc()
		s.duration.Observe(took.Seconds())
		return
	}
	code := "ok"
	if e := (*api.Error)(nil); errors.As(err, &e) {
		code = string(e.Code)
	} else if err != nil {
		code = "internal"
	}
	m.requests.WithLabelValues(op, code).Inc()
	m.duration.WithLabelValues(op).Observe(took.Seconds())
}
