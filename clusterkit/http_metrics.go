package clusterkit

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// noRoute stands for all paths that are no endpoint, and otherMethod for all
// methods that no endpoint has: the labels must not be the client's choice.
const (
	noRoute     = "none"
	otherMethod = "other"
)

// requestMetrics count the requests to the HTTP API of this node.
type requestMetrics struct {
	total    *prometheus.CounterVec
	duration *prometheus.HistogramVec
	// waiting is the number of requests that wait for a newer map.
	waiting atomic.Int64
}

var metricWaiting = prometheus.NewDesc("clusterkit_http_waiting_requests", "Requests to the HTTP API that wait for a newer map.", nil, nil)

func newRequestMetrics() *requestMetrics {
	return &requestMetrics{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "clusterkit_http_requests_total", Help: "Requests to the HTTP API, by route and status.",
		}, []string{"route", "method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "clusterkit_http_request_duration_seconds", Help: "Time that answers took, other than those that the client wished to wait for.",
			Buckets: []float64{.001, .005, .025, .1, .5, 1, 5},
		}, []string{"route"}),
	}
}

// Describe is for [prometheus.Collector], as Collect.
func (m *requestMetrics) Describe(ch chan<- *prometheus.Desc) {
	m.total.Describe(ch)
	m.duration.Describe(ch)
	ch <- metricWaiting
}

func (m *requestMetrics) Collect(ch chan<- prometheus.Metric) {
	m.total.Collect(ch)
	m.duration.Collect(ch)
	ch <- prometheus.MustNewConstMetric(metricWaiting, prometheus.GaugeValue, float64(m.waiting.Load()))
}

func (m *requestMetrics) count(route, method string, w *responder, took time.Duration) {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete:
	default:
		method = otherMethod
	}
	m.total.WithLabelValues(route, method, strconv.Itoa(w.status)).Inc()
	if !w.waits {
		m.duration.WithLabelValues(route).Observe(took.Seconds())
	}
}
