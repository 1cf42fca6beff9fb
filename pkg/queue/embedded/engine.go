package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Defaults of what Options leave out.
const (
	DefaultRetentionAge   = 72 * time.Hour
	DefaultRetentionBytes = bellhop.Size(1 << 30)
)

// Options are the engine's settings. The zero value is usable.
type Options struct {
	// RetentionAge and RetentionBytes bound the history; zero means the default, below zero no bound.
	RetentionAge   time.Duration
	RetentionBytes bellhop.Size
	// LockWait is how long Open waits for another process to let go of the directory; zero: not at all.
	LockWait time.Duration
	// Logger is nil for none.
	Logger *slog.Logger

	// FS is the file system, nil for the operating system's. Tests inject faults with it.
	FS vfs.FS
	// Now is the clock, nil for time.Now. Timers run by the real one.
	Now func() time.Time
}

// Queue is the embedded engine; see the package comment.
type Queue struct {
	dir  string
	id   string
	o    Options
	log  *slog.Logger
	now  func() time.Time
	disk *disk
	db   *pebble.DB
	lock *pebble.Lock

	lanes   lanes
	flights flights
	filter  keyFilter
	history history
	expired expiry
	replica atomic.Pointer[bellhop.Replica] // as it announced itself

	// memos is held for reading while one is left, for writing while expired ones are forgotten.
	memos        sync.RWMutex
	expiredMemos expiry

	// unsynced is told of what was applied without a sync.
	unsynced chan struct{}

	// One replay and one sweep run at a time.
	replaying sync.Mutex
	sweeping  sync.Mutex

	// Close sets closed and closes closing, then waits for what is under way.
	mu      sync.Mutex
	closed  bool
	closing chan struct{}
	ops     sync.WaitGroup
	loops   sync.WaitGroup
	done    chan struct{} // closed when Close has finished
	doneErr error
}

var _ bellhop.Queue = (*Queue)(nil)

// errStopped is what callers see after Close.
var errStopped = fmt.Errorf("the queue is closed: %w", bellhop.ErrStopping)

// Open opens the queue in a directory, creating it if the directory is empty or not there. The end of ctx ends
// waiting for the directory, and nothing else.
func Open(ctx context.Context, dir string, o Options) (*Queue, error) {
	if o.RetentionAge == 0 {
		o.RetentionAge = DefaultRetentionAge
	}
	if o.RetentionBytes == 0 {
		o.RetentionBytes = DefaultRetentionBytes
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.FS == nil {
		o.FS = vfs.Default
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, fmt.Errorf("finding the queue's directory: %w", err)
		}
		dir = abs
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	q := &Queue{
		dir: dir, o: o, log: o.Logger, now: o.Now,
		disk:    newDisk(o.FS, dir, o.Logger),
		closing: make(chan struct{}),
		done:    make(chan struct{}),

		unsynced: make(chan struct{}, 1),
	}
	q.history.init(o)

	var err error
	if q.lock, err = q.claim(ctx); err != nil {
		return nil, err
	}
	if err := q.open(); err != nil {
		return nil, errors.Join(err, q.lock.Close())
	}
	return q, nil
}

func (q *Queue) open() error {
	if err := removeBallast(q.o.FS, q.dir); err != nil {
		return fmt.Errorf("opening the queue in %s: removing its ballast: %w", q.dir, err)
	}
	if err := q.openPebble(); err != nil {
		if isFull(err) {
			return fmt.Errorf("opening the queue in %s: make room or enlarge the volume: %w", q.dir, err)
		}
		return damaged(q.dir, err)
	}
	if err := q.load(); err != nil {
		return errors.Join(damaged(q.dir, err), q.db.Close())
	}
	q.disk.start()
	q.loops.Go(q.sweepLoop)
	q.loops.Go(q.syncLoop)
	now := q.now().UnixNano()
	q.loops.Go(func() { q.fillFilter(now) })
	return nil
}

// openPebble opens Pebble, or says why it cannot be opened. Pebble gives up in a goroutine of its own, maybe
// one that holds what it opened: it is left behind then, and the directory stays locked until the process ends.
func (q *Queue) openPebble() error {
	opened := make(chan error, 1)
	go func() {
		var err error
		if q.db, err = pebble.Open(q.dir, q.pebbleOptions()); err == nil {
			q.disk.live.Store(true)
		}
		opened <- err
	}()
	select {
	case err := <-opened:
		return err
	case <-q.disk.stuck:
		return q.disk.healthy()
	}
}

// Sizes found by measurement (BenchmarkPut, TestBacklogMemory with CGO_ENABLED=0, when Pebble's memory is on
// the Go heap and the collector lets it grow). Tables of 8 MiB cost a tenth of the rate, 32 MiB bring a few
// percent for twice the memory. The tables count against the cache: it must be larger than they are, or
// nothing is cached while events come in.
const (
	memTableSize  = 16 << 20
	memTables     = 2
	cacheSize     = 40 << 20
	separatedSize = 1 << 10 // bodies from here on are kept out of what compactions rewrite
)

func (q *Queue) pebbleOptions() *pebble.Options {
	o := &pebble.Options{
		FS:                          q.disk,
		Lock:                        q.lock,
		Logger:                      &pebbleLog{q.log, q.disk},
		FormatMajorVersion:          pebble.FormatValueSeparation,
		MemTableSize:                memTableSize,
		MemTableStopWritesThreshold: memTables,
		CacheSize:                   cacheSize,
		MaxOpenFiles:                500,
		L0CompactionThreshold:       8,
		L0StopWritesThreshold:       64,
		LBaseMaxBytes:               64 << 20,
		FlushDelayDeleteRange:       10 * time.Second,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
	}
	// What is large is packed before it gets here.
	o.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionNone })
	for i := range o.Levels {
		o.Levels[i].BlockSize = 16 << 10
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	o.Experimental.FileCacheShards = 1
	o.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
		return pebble.ValueSeparationPolicy{
			Enabled:               true,
			MinimumSize:           separatedSize,
			MaxBlobReferenceDepth: 10,
			RewriteMinimumAge:     5 * time.Minute,
			TargetGarbageRatio:    0.5,
		}
	}
	o.EventListener = &pebble.EventListener{
		BackgroundError: func(err error) { q.log.Error("queue: background work failed and is tried again", "error", err) },
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			q.log.Error("queue: stored data is damaged", "path", info.Path, "error", info.Details)
		},
	}
	return o
}

// pebbleLog passes on what a person should see. Pebble's own notes are no more than that.
type pebbleLog struct {
	log  *slog.Logger
	disk *disk
}

func (l *pebbleLog) Infof(string, ...any) {}

func (l *pebbleLog) Errorf(format string, args ...any) {
	l.log.Error("queue: Pebble reports trouble", "error", fmt.Sprintf(format, args...))
}

// Fatalf must not return: it takes the queue out of service.
func (l *pebbleLog) Fatalf(format string, args ...any) {
	err := &pebbleError{text: fmt.Sprintf(format, args...)}
	for _, a := range args {
		if cause, ok := a.(error); ok {
			err.cause = cause
		}
	}
	l.disk.fail(err)
	l.disk.park()
}

// pebbleError is what Pebble cannot go on with.
type pebbleError struct {
	text  string
	cause error
}

func (e *pebbleError) Error() string { return e.text }
func (e *pebbleError) Unwrap() error { return e.cause }

// begin registers an operation that Close waits for; end ends it.
func (q *Queue) begin() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return errStopped
	}
	q.ops.Add(1)
	return nil
}

func (q *Queue) end() { q.ops.Done() }

// ID names the store.
func (q *Queue) ID() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.id
}

// Healthy is nil if a Put would be taken now.
func (q *Queue) Healthy() error {
	select {
	case <-q.closing:
		return fmt.Errorf("%w: %w", bellhop.ErrUnavailable, errStopped)
	default:
		return q.disk.healthy()
	}
}

// Close waits for what is under way, makes everything durable and stops. Leased deliveries are simply not
// settled: they are due again when the queue is opened. On a disk that takes nothing more, what was not yet
// durable is left behind; nothing of it was promised.
func (q *Queue) Close() error {
	q.mu.Lock()
	first := !q.closed
	q.closed = true
	q.mu.Unlock()
	if !first {
		<-q.done
		return q.doneErr
	}
	defer close(q.done)
	close(q.closing)
	q.disk.stop()

	closed := make(chan error, 1)
	go func() {
		q.loops.Wait()
		q.ops.Wait()
		for _, l := range q.lanes.all() {
			l.stop()
		}
		err := q.db.LogData(nil, pebble.Sync) // settled deliveries are in the log, but not all synced
		closed <- errors.Join(err, q.db.Close())
	}()
	select {
	case q.doneErr = <-closed:
	case <-q.disk.stuck:
		q.doneErr = fmt.Errorf("closing the queue: %w", q.disk.healthy())
	}
	q.doneErr = errors.Join(q.doneErr, q.lock.Close())
	return q.doneErr
}
