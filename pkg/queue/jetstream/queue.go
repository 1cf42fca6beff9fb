package jetstream

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Queue is a connection to the streams of one Bellhop.
type Queue struct {
	o        Options
	settings *settings
	names    names
	logger   *slog.Logger

	nc *nats.Conn
	js jetstream.JetStream

	ctx    context.Context // ends when Close begins
	cancel context.CancelFunc
	tasks  sync.WaitGroup // in the background; they end with ctx
	// following ends with ctx and, at the latest, with the connection.
	following sync.WaitGroup

	// operations are under way; Close waits for them.
	gate       sync.RWMutex
	closed     bool
	operations sync.WaitGroup
	closing    sync.Once
	closeErr   error

	ready   chan struct{} // closed once the streams are there
	id      atomic.Pointer[string]
	trouble atomic.Pointer[error]  // why a Put would not be taken; nil if it would
	hint    atomic.Pointer[string] // the last thing that was not permitted

	lanes    lanes
	pauses   pauses
	known    sync.Map // providers that are recorded as such
	settling flights

	window    atomic.Int64           // for how long the server recognises duplicates, nanoseconds
	asked     atomic.Int64           // for how long it is to, if that is being tried or was refused
	announced atomic.Pointer[string] // the subject that tells of this process
}

var _ bellhop.Queue = (*Queue)(nil)

// errStopped is what callers see after Close.
var errStopped = fmt.Errorf("the queue is closed: %w", bellhop.ErrStopping)

// Open connects to the servers that a URL names (see the package comment), and creates the streams that are
// missing. Servers that cannot be reached are waited for in the background: the queue is unhealthy until then. What
// does not heal by itself is an error.
func Open(ctx context.Context, u *url.URL, o Options) (*Queue, error) {
	s, err := parseURL(u)
	if err != nil {
		return nil, err
	}
	if o.timing == (timing{}) {
		o.timing = standard
	}
	if o.now == nil {
		o.now = time.Now
	}
	q := &Queue{
		o: o, settings: s, names: s.prefix, logger: cmp.Or(o.Logger, slog.New(slog.DiscardHandler)),
		ready: make(chan struct{}),
	}
	q.ctx, q.cancel = context.WithCancel(context.Background())
	q.troubled(errors.New("not connected to NATS yet"))

	connection, err := s.connection()
	if err != nil {
		return nil, err
	}
	q.nc, err = nats.Connect(strings.Join(s.servers, ","), append(connection, nats.ErrorHandler(q.heard))...)
	if err != nil {
		return nil, fmt.Errorf("connecting to queue %s: %w", shown(u), err)
	}
	q.js, err = jetstream.New(q.nc, jetstream.WithPublishAsyncMaxPending(maxPending),
		jetstream.WithPublishAsyncTimeout(o.patience), jetstream.WithDefaultTimeout(o.patience))
	if err != nil {
		q.nc.Close()
		return nil, fmt.Errorf("opening queue %s: %w", shown(u), err)
	}
	if err := q.begun(ctx); err != nil {
		q.cancel()
		q.nc.Close()
		return nil, fmt.Errorf("opening queue %s: %w", shown(u), err)
	}
	return q, nil
}

// maxPending is how many messages are published without an acknowledgement at most.
const maxPending = 16 << 10

// begun waits for the streams a while, and leaves the rest to the background.
func (q *Queue) begun(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, q.o.start)
	defer cancel()
	for {
		err := q.prepare(ctx)
		if errors.Is(err, errSettings) {
			return err
		}
		if err == nil || !sleep(ctx, q.o.look/4) {
			break
		}
	}
	q.tasks.Go(q.watch)
	if !q.o.Preserve {
		q.tasks.Go(q.sweepAlways)
	}
	return nil
}

// prepare does all that must be done once.
func (q *Queue) prepare(ctx context.Context) error {
	err := q.setUp(ctx)
	if err == nil {
		err = q.identify(ctx)
	}
	if err == nil {
		err = q.followPauses(ctx)
	}
	if err != nil {
		q.troubled(err)
		return err
	}
	q.trouble.Store(nil)
	close(q.ready)
	return nil
}

// identify reads the store's id, or gives it one.
func (q *Queue) identify(ctx context.Context) error {
	for {
		m, err := q.latest(ctx, q.names.records(), q.names.id())
		if err == nil {
			id := string(m.Data)
			q.id.Store(&id)
			return nil
		}
		if !errors.Is(err, errNone) {
			return err
		}
		_, err = q.js.Publish(ctx, q.names.id(), []byte(rand.Text()), jetstream.WithExpectLastSequencePerSubject(0))
		if err != nil && !isConflict(err) { // a conflict: another replica was first
			return fmt.Errorf("naming the store: %w", err)
		}
	}
}

// ID names the store. It is empty as long as no server was reached.
func (q *Queue) ID() string {
	if id := q.id.Load(); id != nil {
		return *id
	}
	return ""
}

// begin lets an operation begin, unless the queue is closed. end ends it.
func (q *Queue) begin() error {
	q.gate.RLock()
	defer q.gate.RUnlock()
	if q.closed {
		return errStopped
	}
	q.operations.Add(1)
	return nil
}

func (q *Queue) end() { q.operations.Done() }

// prepared returns an error while the streams are not known to be there.
func (q *Queue) prepared() error {
	select {
	case <-q.ready:
		return nil
	default:
		return fmt.Errorf("%w: %w", bellhop.ErrUnavailable, *q.trouble.Load())
	}
}

// start begins an operation that needs the streams.
func (q *Queue) start() error {
	if err := q.begin(); err != nil {
		return err
	}
	if err := q.prepared(); err != nil {
		q.end()
		return err
	}
	return nil
}

// Close settles what is being settled, hands back what is leased or fetched, and lets go of the providers, so that
// another replica goes on at once.
func (q *Queue) Close() error {
	q.closing.Do(func() {
		q.gate.Lock()
		q.closed = true
		q.gate.Unlock()
		q.cancel()
		ctx, cancel := context.WithTimeout(context.Background(), 2*q.o.patience)
		defer cancel()
		ended := make(chan struct{})
		go func() {
			q.operations.Wait()
			q.settling.wait(ctx)
			q.tasks.Wait()
			if err := q.leave(ctx); err != nil {
				q.logger.Debug("taking back what was announced", "error", err)
			}
			close(ended)
		}()
		select {
		case <-ended:
		case <-ctx.Done():
			q.closeErr = errors.New("closing the queue: NATS does not answer; what was leased comes back by itself")
		}
		q.nc.Close()
		<-ended
		q.following.Wait()
	})
	return q.closeErr
}

// sleep reports whether it was not ended by ctx.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
