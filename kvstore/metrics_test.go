package kvstore

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/migration"
	"github.com/skshohagmiah/clusterkit/kvstore/replication"
	"github.com/skshohagmiah/clusterkit/kvstore/storage"
)

func TestMetrics(t *testing.T) {
	store, err := storage.Open(storage.Options{Dir: t.TempDir(), StoreID: "store"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	n := &Node{metrics: newMetrics(), replicas: map[uint32]*replica{}, storage: store}
	n.applier = newApplier(n)
	n.pace = newPace(migration.Settings{BytesPerSecond: 1 << 20}, &n.metrics.answered)
	n.migrations, n.pins = newMigrations(n), newPins(n)
	served := &replica{id: 1}
	served.serving.Store(4)
	n.replicas[1], n.replicas[2] = served, &replica{id: 2}
	n.applier.backlog = 77
	registry := prometheus.NewRegistry()
	if err := n.metrics.register(n, registry); err != nil {
		t.Fatal(err)
	}
	n.metrics.observe("get", time.Now(), nil)
	n.metrics.observe("get", time.Now(), fmt.Errorf("wrapped: %w", api.ErrNotFound))
	n.metrics.observe("set", time.Now(), api.ErrOutcomeUnknown)
	n.metrics.observe("set", time.Now(), errors.New("disk on fire"))

	n.metrics.reject(replication.BadChecksum)
	n.metrics.migrated.failed(fmt.Errorf("wrapped: %w", errPinGone))
	n.metrics.migrated.failed(errors.New("disk on fire"))
	n.metrics.migrated.in.Add(5)

	got := map[string]float64{}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	for name, want := range map[string]float64{
		"kvstore_requests_total ok get":              1,
		"kvstore_requests_total not_found get":       1,
		"kvstore_requests_total outcome_unknown set": 1,
		"kvstore_requests_total internal set":        1,
		"kvstore_request_duration_seconds get":       2,
		"kvstore_request_duration_seconds set":       2,
		"kvstore_partitions":                         2,
		"kvstore_partitions_served":                  1,
		"kvstore_apply_backlog_bytes":                77,
		"kvstore_damaged_partitions":                 0,

		"kvstore_migration_bytes_total in":            5,
		"kvstore_migration_bytes_total out":           0,
		"kvstore_migration_active copying snapshot":   0,
		"kvstore_migration_failures_total gone":       1,
		"kvstore_migration_failures_total other":      1,
		"kvstore_migration_failures_total spoilt":     0,
		"kvstore_migration_snapshots_given":           0,
		"kvstore_migration_throttle_bytes_per_second": 1 << 20,
		"kvstore_migration_garbage_copies":            0,

		"kvstore_replication_rejected_frames_total checksum": 1,
		"kvstore_replication_rejected_frames_total epoch":    0,
	} {
		if value, ok := got[name]; !ok || value != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}
