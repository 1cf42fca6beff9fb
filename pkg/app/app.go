// Package app is the process: it wires the rooms together, loads and reloads the configuration, knows whether
// the process is ready, and stops everything in order. It is the only importer of everything.
package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/bellhop-dev/bellhop/pkg/admin"
	"github.com/bellhop-dev/bellhop/pkg/admission"
	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/config"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/kube"
	"github.com/bellhop-dev/bellhop/pkg/notifier"
	"github.com/bellhop-dev/bellhop/pkg/queue"
	"github.com/bellhop-dev/bellhop/pkg/receiver"
	"github.com/bellhop-dev/bellhop/pkg/telemetry"
	"github.com/bellhop-dev/bellhop/pkg/verify"
)

// Options are what a process is started with beyond its settings.
type Options struct {
	Catalog bellhop.Catalog
	Logger  *slog.Logger
	Version string
	// Listening is told each listener's name (receiver, admin, admission) and bound address; nil for nobody.
	Listening func(name string, addr net.Addr)
	// ShutdownTimeout bounds stopping as a whole; 25 s if zero, within Kubernetes' 30.
	ShutdownTimeout time.Duration
}

// Timeouts of the listeners. A sender has a minute for its body and is answered long before that; answers are
// small enough to be written without waiting for anybody.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = time.Minute
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
)

// lockWait is how long another process may go on with the queue's directory: the pod that this one replaces has
// its grace period to stop, 35 s in the chart, whose startup probe waits for 120 s.
const lockWait = time.Minute

// Run serves until ctx ends, then stops in order and returns. It returns an error when it could not start, or
// when a listener failed.
//
// A configuration that is broken at start does not end the process: every problem is logged, hooks are
// answered 503 so that senders come back, readiness says why, and the process serves as soon as the files are
// mended.
func Run(ctx context.Context, s *Settings, o Options) error {
	if err := s.Check(); err != nil {
		return err
	}
	if o.ShutdownTimeout == 0 {
		o.ShutdownTimeout = 25 * time.Second
	}
	p := &process{settings: s, options: o, logger: o.Logger, started: time.Now()}
	defer p.stop()
	if err := p.start(ctx); err != nil && ctx.Err() == nil { // being stopped is not failing
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-p.failed:
		return err
	}
}

// process is everything that runs.
type process struct {
	settings *Settings
	options  Options
	logger   *slog.Logger
	started  time.Time

	metrics  *telemetry.Metrics
	queue    bellhop.Queue
	receiver *receiver.Receiver
	notifier *notifier.Notifier
	loader   *config.Loader
	secrets  *kube.Secrets // nil: Secrets are files
	events   *kube.Events  // nil: nobody is told
	// tls and admissionTLS are the listeners' certificates, nil for one without.
	tls, admissionTLS *keyPair
	token             atomic.Pointer[bellhop.Secret]

	failed   chan error
	stopping atomic.Bool
	stopped  time.Time // when stopping began

	reloading sync.Mutex // one reload at a time
	config    atomic.Pointer[admin.ConfigStatus]
	reloaded  chan struct{} // told of another configuration

	cleanups []cleanup
}

// cleanup is a named part of stopping; they run in reverse order of their starts.
type cleanup struct {
	name string
	stop func(context.Context) error
}

func (p *process) onStop(name string, stop func(context.Context) error) {
	p.cleanups = append(p.cleanups, cleanup{name, stop})
}

// background runs f in a goroutine of its own, until its context ends it: stopping waits for that.
func (p *process) background(name string, f func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f(ctx)
	}()
	p.onStop(name, func(context.Context) error {
		cancel()
		<-ended
		return nil
	})
}

func (p *process) stop() {
	p.stopped = time.Now()
	p.stopping.Store(true) // readiness off, and connections end with their next answer
	p.logger.Info("stopping", "within", p.options.ShutdownTimeout)
	ctx, cancel := context.WithTimeout(context.Background(), p.options.ShutdownTimeout)
	defer cancel()
	for _, c := range slices.Backward(p.cleanups) {
		start := time.Now()
		if err := c.stop(ctx); err != nil {
			p.logger.Error("stopping a part", "part", c.name, "error", err)
			continue
		}
		p.logger.Debug("stopped", "part", c.name, "took", time.Since(start))
	}
	p.logger.Info("stopped")
}

// start starts the parts in the order in which they need each other. What can fail without touching
// anything comes first.
func (p *process) start(ctx context.Context) error {
	s := p.settings
	p.failed = make(chan error, 3) // one a listener
	if err := p.readToken(); err != nil {
		return err
	}
	if s.TLSCertFile != "" {
		p.tls = &keyPair{listener: "receiver", certFile: s.TLSCertFile, keyFile: s.TLSKeyFile, clientCAFile: s.TLSClientCAFile}
	}
	if s.AdmissionListen != "" {
		p.admissionTLS = &keyPair{listener: "admission", certFile: s.AdmissionCertFile, keyFile: s.AdmissionKeyFile}
	}
	for _, pair := range p.keyPairs() {
		if _, err := pair.reload(); err != nil {
			return fmt.Errorf("TLS of the %s: %w", pair.listener, err)
		}
	}
	if _, err := os.Stat(s.Config); err != nil {
		return fmt.Errorf("configuration: %w; set BELLHOP_CONFIG or --config to a file or a directory with *.yaml files", err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	p.metrics = telemetry.NewMetrics(registry)

	// Listen before the queue is opened: an address in use is the likelier mistake, and nothing is touched yet.
	hooks, err := p.listen("receiver", s.Listen)
	if err != nil {
		return err
	}
	p.onStop("receiver's listener", closeListener(hooks))
	operators, err := p.listen("admin", s.AdminListen)
	if err != nil {
		return err
	}
	p.onStop("admin's listener", closeListener(operators))
	var reviews net.Listener
	if p.admissionTLS != nil {
		if reviews, err = p.listen("admission", s.AdmissionListen); err != nil {
			return err
		}
		p.onStop("admission's listener", closeListener(reviews))
	}

	if p.queue, err = queue.Open(ctx, s.Queue, queue.Options{
		RetentionAge: s.RetentionAge, RetentionBytes: s.RetentionBytes, LockWait: lockWait, Logger: p.logger,
	}); err != nil {
		return err
	}
	p.onStop("queue", func(context.Context) error { return p.queue.Close() })

	cluster := s.cluster(p.logger)
	p.tellEvents(cluster)
	p.notifier = notifier.New(notifier.Options{
		Queue: p.queue, Metrics: p.metrics, Logger: p.logger, Pool: orElse(s.Notifiers, 32*runtime.GOMAXPROCS(0)),
		OrphanGrace: s.OrphanGrace, Unready: p.unready,
	})
	p.receiver = receiver.New(receiver.Options{
		Queue: p.queue, Metrics: p.metrics, Logger: p.logger, MaxBody: s.MaxBody, Workers: orElse(s.Receivers, 128*runtime.GOMAXPROCS(0)),
		TrustedProxies: s.TrustedProxies,
	})
	telemetry.RegisterQueue(registry, p.queue, p.notifier.Running)
	p.onStop("notifier", func(ctx context.Context) error {
		p.notifier.Stop(ctx)
		return nil
	})

	p.config.Store(&admin.ConfigStatus{})
	p.reloaded = make(chan struct{}, 1)
	p.loader, p.secrets = s.loader(cluster, p.options.Catalog, p.logger)
	if p.secrets != nil {
		unwatch := p.secrets.Watch()
		p.onStop("watched Secrets", func(context.Context) error {
			unwatch()
			return nil
		})
	}
	if s.Installation == "" {
		p.loader.Installation = p.queue.ID
	}
	client, err := httpsend.NewClient(httpsend.Options{})
	if err != nil {
		return err
	}
	issuers := verify.NewIssuers(client, p.logger)
	p.loader.Issuers = issuers
	p.onStop("token issuers", func(context.Context) error {
		issuers.Close()
		client.CloseIdleConnections()
		return nil
	})
	p.reload()
	p.awaitInstallation()
	p.watch()
	p.announceReplica()

	api := admin.New(admin.Options{
		Queue: p.queue, Receiver: p.receiver, Notifier: p.notifier, Metrics: registry, Logger: p.logger,
		Status: p.status, Token: func() bellhop.Secret { return *p.token.Load() }, PublicURL: s.PublicURL,
	})
	for _, pair := range p.keyPairs() {
		p.observeCertificate(pair)
	}
	if reviews != nil {
		p.serve("admission", reviews, admission.New(admission.Options{
			Loader: p.loader, Namespace: os.Getenv("POD_NAMESPACE"), Reviews: p.metrics.Admission, Logger: p.logger,
		}), p.admissionTLS.config())
	}
	p.serve("admin", operators, api, nil)
	if p.tls != nil {
		p.serve("receiver", hooks, p.receiver, p.tls.config())
	} else {
		p.serve("receiver", hooks, p.receiver, nil)
	}
	return nil
}

func orElse(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

func (p *process) listen(name, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening for the %s: %w; choose another address", name, err)
	}
	return l, nil
}

func closeListener(l net.Listener) func(context.Context) error {
	return func(context.Context) error {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
}

// serve runs a server, with TLS unless secure is nil, until it is stopped: clients are asked to leave, in-flight
// requests finish, then it is gone.
func (p *process) serve(name string, l net.Listener, handler http.Handler, secure *tls.Config) {
	leaving := &farewell{Handler: handler, said: &p.stopping}
	server := &http.Server{
		Handler: leaving, ConnState: leaving.connState, TLSConfig: secure,
		ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeaderBytes,
		ErrorLog:       slog.NewLogLogger(p.logger.Handler(), slog.LevelDebug),
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var err error
		if secure != nil {
			err = server.ServeTLS(l, "", "")
		} else {
			err = server.Serve(l)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			p.failed <- fmt.Errorf("serving the %s: %w", name, err)
		}
	}()
	p.onStop(name, func(ctx context.Context) error {
		// Leave the parts behind it some of the time.
		ctx, cancel := context.WithTimeout(ctx, p.options.ShutdownTimeout/2)
		defer cancel()
		leaving.wait(ctx, p.stopped.Add(farewellTime))
		err := server.Shutdown(ctx)
		if err != nil {
			err = errors.Join(err, server.Close())
		}
		<-ended
		return err
	})
	p.logger.Info("listening", "listener", name, "address", l.Addr().String(), "tls", secure != nil)
	if p.options.Listening != nil {
		p.options.Listening(name, l.Addr())
	}
}

func (p *process) readToken() error {
	token := bellhop.Secret{}
	if p.settings.AdminTokenFile != "" {
		b, err := os.ReadFile(p.settings.AdminTokenFile)
		if err != nil {
			return fmt.Errorf("admin token: %w", err)
		}
		variants := bellhop.NewSecret(b).Variants()
		token = variants[len(variants)-1]
		if token.Empty() {
			return fmt.Errorf("admin token: %s is empty", p.settings.AdminTokenFile)
		}
	}
	p.token.Store(&token)
	return nil
}

// status is what readiness and the API say.
func (p *process) status() admin.Status {
	c := *p.config.Load()
	st := admin.Status{Version: p.options.Version, Started: p.started, Config: c, Queue: admin.QueueStatus{Healthy: true}}
	if p.stopping.Load() {
		st.NotReady = append(st.NotReady, "the process is shutting down")
	}
	if c.Hash == "" {
		st.NotReady = append(st.NotReady, "no configuration could be loaded yet")
	}
	if err := p.queue.Healthy(); err != nil {
		st.Queue = admin.QueueStatus{Error: err.Error()}
		st.NotReady = append(st.NotReady, "queue: "+err.Error())
	}
	st.Ready = len(st.NotReady) == 0
	return st
}

// watched are the files and directories whose changes matter.
func (p *process) watched() []string {
	paths := p.loader.Paths()
	s := p.settings
	for _, f := range []string{s.TLSCertFile, s.TLSKeyFile, s.TLSClientCAFile, s.AdmissionCertFile, s.AdmissionKeyFile, s.AdminTokenFile} {
		if f != "" {
			paths = append(paths, f)
		}
	}
	return paths
}
