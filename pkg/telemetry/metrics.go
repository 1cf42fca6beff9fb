// Package telemetry declares the names of everything that Bellhop measures, once.
package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Metrics are the program's own, registered together.
type Metrics struct {
	// Received counts every request to the receiver exactly once, by its outcome. Endpoint and source are
	// empty where none was found.
	Received *prometheus.CounterVec
	// ReceiveDuration is from the request's headers to the answer.
	ReceiveDuration prometheus.Histogram
	// Deliveries counts attempts by result: delivered, retried, paused, dead, returned, suppressed.
	Deliveries *prometheus.CounterVec
	// DeliveryDuration is one attempt's.
	DeliveryDuration *prometheus.HistogramVec
	// DeliveryLag is from acceptance to the provider's success answer.
	DeliveryLag *prometheus.HistogramVec
	// ProviderSuspended is 1 for a provider that the configuration suspends, 0 for any other.
	ProviderSuspended *prometheus.GaugeVec

	ReloadSuccessful  prometheus.Gauge
	ReloadSuccessTime prometheus.Gauge
	ConfigInfo        *prometheus.GaugeVec
	TLSNotAfter       *prometheus.GaugeVec

	// Admission counts what the admission webhook was asked by kind (ConfigMap, Secret, other) and result (allowed,
	// warned, refused, invalid).
	Admission *prometheus.CounterVec
}

var (
	fast = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	slow = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86400}
)

// NewMetrics makes and registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	m := &Metrics{
		Received: counter("bellhop_received_total", "Requests to the receiver by their one outcome.", "endpoint", "source", "result", "reason"),
		ReceiveDuration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "bellhop_receive_duration_seconds", Help: "From a request's headers to its answer.", Buckets: fast}),
		Deliveries: counter("bellhop_deliveries_total", "Attempts to deliver by result: delivered, retried, paused, dead, returned, suppressed.", "provider", "type", "result"),
		DeliveryDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "bellhop_delivery_duration_seconds", Help: "One attempt to deliver.", Buckets: fast}, []string{"provider", "type"}),
		DeliveryLag: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "bellhop_delivery_lag_seconds", Help: "From accepting an event to the provider's success answer.", Buckets: slow}, []string{"provider", "type"}),
		ProviderSuspended: gauge("bellhop_provider_suspended", "1 if the configuration suspends the provider, so that its deliveries wait, else 0.", "provider"),
		ReloadSuccessful: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "bellhop_config_last_reload_successful", Help: "1 if the last configuration was taken, 0 if the one before still serves."}),
		ReloadSuccessTime: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "bellhop_config_last_reload_success_timestamp_seconds", Help: "When a configuration was last taken."}),
		ConfigInfo:  gauge("bellhop_config_info", "The configuration that serves, by the hash of its files.", "hash"),
		TLSNotAfter: gauge("bellhop_tls_not_after_seconds", "When the listener's certificate expires.", "listener"),
		Admission:   counter("bellhop_admission_total", "Objects that the admission webhook was asked about, by its answer.", "kind", "result"),
	}
	reg.MustRegister(m.Received, m.ReceiveDuration, m.Deliveries, m.DeliveryDuration, m.DeliveryLag, m.ProviderSuspended,
		m.ReloadSuccessful, m.ReloadSuccessTime, m.ConfigInfo, m.TLSNotAfter, m.Admission)
	return m
}

// queueCollector reads the queue's numbers when it is scraped.
type queueCollector struct {
	queue               bellhop.Queue
	providers           func() []string
	depth, oldest, dead *prometheus.Desc
}

// RegisterQueue exports each provider's depth, oldest age and dead count. providers names those to show even
// when they have nothing waiting.
func RegisterQueue(reg prometheus.Registerer, q bellhop.Queue, providers func() []string) {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, []string{"provider"}, nil)
	}
	reg.MustRegister(&queueCollector{
		queue: q, providers: providers,
		depth:  desc("bellhop_queue_depth", "Deliveries that wait or are being sent."),
		oldest: desc("bellhop_queue_oldest_seconds", "Age of the oldest waiting delivery, 0 if none waits."),
		dead:   desc("bellhop_dead", "Deliveries given up, kept for inspection and retry."),
	})
}

func (c *queueCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.depth
	ch <- c.oldest
	ch <- c.dead
}

func (c *queueCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	names := c.providers()
	seen := make(map[string]bool, len(names))
	if waiting, err := c.queue.Providers(ctx); err == nil {
		names = append(names, waiting...)
	}
	for _, name := range names {
		if seen[name] {
			continue
		}
		seen[name] = true
		s, err := c.queue.Stats(ctx, name)
		if err != nil {
			continue
		}
		age := 0.0
		if !s.Oldest.IsZero() {
			age = max(time.Since(s.Oldest).Seconds(), 0)
		}
		ch <- prometheus.MustNewConstMetric(c.depth, prometheus.GaugeValue, float64(s.Depth), name)
		ch <- prometheus.MustNewConstMetric(c.oldest, prometheus.GaugeValue, age, name)
		ch <- prometheus.MustNewConstMetric(c.dead, prometheus.GaugeValue, float64(s.Dead), name)
	}
}
