package kvstore

import (
	"errors"
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skshohagmiah/clusterkit/kvstore/migration"
)

// migrationMetrics are what a node counts of copies.
type migrationMetrics struct {
	bytes *prometheus.CounterVec
	// in and out are those of bytes.
	in, out  prometheus.Counter
	resumed  prometheus.Counter
	repeated prometheus.Counter
	failures *prometheus.CounterVec
}

func newMigrationMetrics() migrationMetrics {
	m := migrationMetrics{
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kvstore_migration_bytes_total",
			Help: "Bytes of snapshots taken from other nodes, and given to them; given are also the log entries that learners begin with.",
		}, []string{"direction"}),
		resumed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kvstore_migration_resumed_bytes_total",
			Help: "Keys and values of snapshots that were here when a copy went on, and not copied again.",
		}),
		repeated: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kvstore_migration_repeated_chunks_total",
			Help: "Chunks of snapshots that were asked for again because they did not arrive, or not as they were sent.",
		}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kvstore_migration_failures_total",
			Help: "Attempts to copy a snapshot that were in vain, by reason.",
		}, []string{"reason"}),
	}
	m.in, m.out = m.bytes.WithLabelValues("in"), m.bytes.WithLabelValues("out")
	for _, reason := range failureReasons {
		m.failures.WithLabelValues(reason)
	}
	return m
}

func (m *migrationMetrics) failed(err error) { m.failures.WithLabelValues(failureReason(err)).Inc() }

func (m *migrationMetrics) register(n *Node, to prometheus.Registerer) error {
	errs := []error{to.Register(m.bytes), to.Register(m.resumed), to.Register(m.repeated), to.Register(m.failures)}
	for _, c := range []prometheus.Collector{
		migrationsByPhase{n},
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "kvstore_migration_snapshots_given",
			Help: "Snapshots that are held for other nodes at present.",
		}, func() float64 { return float64(n.pins.count()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "kvstore_migration_throttle_bytes_per_second",
			Help: "The rate at present that copies are bound to, in either direction.",
		}, func() float64 {
			if rate := n.pace.now(); !math.IsInf(rate, 1) {
				return rate
			}
			return math.Inf(1)
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "kvstore_migration_garbage_copies",
			Help: "Copies that were given up and are not deleted yet.",
		}, func() float64 { return float64(n.storage.Garbage().Generations) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "kvstore_migration_garbage_deleted_keys_total",
			Help: "Keys of copies that were given up, deleted since the start.",
		}, func() float64 { return float64(n.storage.Garbage().Deleted) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "kvstore_migration_garbage_reclaims_total",
			Help: "How often the disk space of much that was deleted was given back, since the start.",
		}, func() float64 { return float64(n.storage.Garbage().Reclaims) }),
	} {
		errs = append(errs, to.Register(c))
	}
	return errors.Join(errs...)
}

var migrationsDesc = prometheus.NewDesc("kvstore_migration_active", "Copies that are being made on this node, by phase.", []string{"phase"}, nil)

// migrationsByPhase counts the copies that are being made.
type migrationsByPhase struct{ node *Node }

func (migrationsByPhase) Describe(ch chan<- *prometheus.Desc) { ch <- migrationsDesc }

func (m migrationsByPhase) Collect(ch chan<- prometheus.Metric) {
	counts := map[string]int{}
	for _, c := range m.node.migrations.all() {
		counts[c.state().Phase]++
	}
	for _, phase := range migration.Phases {
		ch <- prometheus.MustNewConstMetric(migrationsDesc, prometheus.GaugeValue, float64(counts[string(phase)]), string(phase))
	}
}
