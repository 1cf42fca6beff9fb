package embedded

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/queuetest"
)

// fault is a file system in memory whose writes can be made to fail.
type fault struct {
	vfs.FS
	err atomic.Pointer[error]
}

// newFault fails writes to the files that only selects, with the error that is set.
func newFault(only func(op errorfs.Op) bool) *fault {
	f := &fault{}
	f.FS = errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if err := f.err.Load(); err != nil && only(op) {
			return *err
		}
		return nil
	}))
	return f
}

func (f *fault) set(err error) { f.err.Store(&err) }
func (f *fault) heal()         { f.err.Store(nil) }

// writes are the operations that need room.
func writes(op errorfs.Op) bool {
	switch op.Kind {
	case errorfs.OpCreate, errorfs.OpFileWrite, errorfs.OpFilePreallocate, errorfs.OpLink, errorfs.OpRename, errorfs.OpReuseForWrite:
		return true
	default:
		return false
	}
}

func tables(op errorfs.Op) bool { return writes(op) && (isTable(op.Path) || isBallast(op.Path)) }

func isBallast(name string) bool { return filepath.Base(name) == ballastName }

// eventually waits for the engine to notice something of its own accord.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func post(e *bellhop.Event) *bellhop.Post {
	return &bellhop.Post{Key: e.DeliveryID, Window: time.Hour, Items: []bellhop.Item{
		{Event: e, To: []bellhop.Target{{Provider: "p"}}},
	}}
}

// retried puts an event as a sender does: with the same delivery id again until it is taken.
type retried struct {
	q       *Queue
	size    int
	refused atomic.Int64
	mu      sync.Mutex
	ids     []string // of the events that were acknowledged
}

func (r *retried) put(t *testing.T) {
	delivery := queuetest.NewID()
	for {
		e := queuetest.NewEvent(queuetest.Noise(r.size))
		e.DeliveryID = delivery
		begin := time.Now()
		receipt, err := r.q.Put(t.Context(), post(e))
		if err == nil {
			r.mu.Lock()
			r.ids = append(r.ids, receipt.IDs...)
			r.mu.Unlock()
			return
		}
		if !errors.Is(err, bellhop.ErrUnavailable) {
			t.Errorf("Put: %v, want ErrUnavailable", err)
			return
		}
		if took := time.Since(begin); took > time.Minute {
			t.Errorf("Put told of it after %v", took)
		}
		if r.refused.Add(1) > 1e7 || t.Context().Err() != nil {
			t.Error("refused for ever")
			return
		}
		select { // a sender comes back later
		case <-time.After(time.Millisecond):
		case <-t.Context().Done():
		}
	}
}

// exactly wants the acknowledged events to be stored, each once, and nothing else.
func (r *retried) exactly(t *testing.T, q *Queue) {
	t.Helper()
	stored := make(map[string]bool)
	for page := (bellhop.Page{Limit: 1000}); ; {
		es, next, err := q.Events(context.Background(), page)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range es {
			stored[e.ID] = true
		}
		if next == "" {
			break
		}
		page.Cursor = next
	}
	seen := make(map[string]bool)
	for _, id := range r.ids {
		if seen[id] {
			t.Errorf("event %s was acknowledged for two deliveries", id)
		}
		seen[id] = true
		if !stored[id] {
			t.Errorf("acknowledged event %s is not stored", id)
		}
	}
	if len(stored) != len(r.ids) {
		t.Errorf("%d events are stored for %d deliveries", len(stored), len(r.ids))
	}
	if s, err := q.Stats(context.Background(), "p"); err != nil || s.Depth != int64(len(r.ids)) {
		t.Errorf("%d deliveries wait, %v, want %d", s.Depth, err, len(r.ids))
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		only func(errorfs.Op) bool
		size int // of bodies: large ones fill the tables in memory
	}{
		{"everything", writes, 2000},
		{"log", func(op errorfs.Op) bool {
			return writes(op) && (strings.HasSuffix(op.Path, ".log") || isBallast(op.Path))
		}, 2000},
		{"tables", tables, 1 << 20},
		{"manifest", func(op errorfs.Op) bool {
			return writes(op) && (strings.Contains(op.Path, "MANIFEST") || isBallast(op.Path))
		}, 1 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			fs := newFault(c.only)
			q, err := Open(t.Context(), "queue", Options{FS: fs})
			if err != nil {
				t.Fatal(err)
			}
			r := &retried{q: q, size: c.size}
			for range 20 {
				r.put(t)
			}
			fs.set(syscall.ENOSPC)
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for range 8 {
						r.put(t)
					}
				})
			}
			var trouble error // tables that cannot be written are no trouble while Pebble rests
			eventually(t, "trouble", func() bool {
				trouble = q.Healthy()
				return trouble != nil && r.refused.Load() > 0
			})
			if !errors.Is(trouble, bellhop.ErrUnavailable) || !strings.Contains(trouble.Error(), "no space left") {
				t.Errorf("Healthy: %v", trouble)
			}
			fs.heal()
			eventually(t, "health", func() bool { return q.Healthy() == nil })
			wg.Wait()
			r.exactly(t, q)
			if err := q.Close(); err != nil {
				t.Fatal(err)
			}
			if q, err = Open(t.Context(), "queue", Options{FS: fs}); err != nil {
				t.Fatal(err)
			}
			r.exactly(t, q)
			if err := q.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestPauseOnAFullDisk is not told that a pause is durable, and pauses all the same.
func TestPauseOnAFullDisk(t *testing.T) {
	t.Parallel()
	fs := newFault(writes)
	q, err := Open(t.Context(), "queue", Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	fs.set(syscall.ENOSPC)
	until := time.Now().Add(time.Hour)
	for _, end := range []time.Time{until, until.Add(-time.Minute)} { // the second stands on the first
		if err := q.Pause(t.Context(), "p", end); !errors.Is(err, bellhop.ErrUnavailable) {
			t.Errorf("Pause: %v, want ErrUnavailable", err)
		}
	}
	if s, err := q.Stats(t.Context(), "p"); err != nil || !s.PausedUntil.Equal(until) {
		t.Errorf("paused until %v, %v, want %v", s.PausedUntil, err, until)
	}
	fs.heal()
	eventually(t, "health", func() bool { return q.Healthy() == nil })
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenOnAFullDisk(t *testing.T) {
	t.Parallel()
	fs := newFault(writes)
	fs.set(syscall.ENOSPC)
	if _, err := Open(t.Context(), "queue", Options{FS: fs}); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("opening: %v", err)
	}
	fs.heal()
	q, err := Open(t.Context(), "queue", Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestVolume fills a real volume, which takes root.
func TestVolume(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256m"); err != nil {
		t.Skipf("a volume cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	q, err := Open(t.Context(), filepath.Join(dir, "queue"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := &retried{q: q, size: 8 << 10}
	for range 100 {
		r.put(t)
	}

	// Somebody else takes all there is, the reserve included.
	filler := filepath.Join(dir, "filler")
	fill := func() {
		f, err := os.OpenFile(filler, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		block := make([]byte, 64<<10)
		for err == nil {
			_, err = f.Write(block)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	fill()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				r.put(t)
			}
		})
	}
	eventually(t, "trouble", func() bool { return q.Healthy() != nil && r.refused.Load() > 0 })
	fill() // and what was given up of the log and the ballast
	if err := q.Healthy(); err == nil || !strings.Contains(err.Error(), "make room or enlarge the volume") {
		t.Errorf("Healthy: %v", err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	eventually(t, "health", func() bool { return q.Healthy() == nil })
	wg.Wait()
	r.exactly(t, q)

	// Full of our own: it stops at the reserve, and delivering goes on.
	var full error
	for range 1 << 20 {
		e := queuetest.NewEvent(queuetest.Noise(64 << 10))
		if _, full = q.Put(t.Context(), post(e)); full != nil {
			break
		}
		r.ids = append(r.ids, e.ID)
	}
	if !errors.Is(full, bellhop.ErrUnavailable) {
		t.Fatalf("Put on a full disk: %v", full)
	}
	for range 50 {
		l, err := q.Take(t.Context(), "p")
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Settle(t.Context(), errors.New("down"), bellhop.Outcome{Due: time.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
	}
	r.exactly(t, q)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if q, err = Open(t.Context(), filepath.Join(dir, "queue"), Options{}); err != nil {
		t.Fatal(err)
	}
	r.exactly(t, q)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// brokenEnv names the case that TestBroken's child runs.
const brokenEnv = "BELLHOP_TEST_BROKEN"

// TestBroken shows that what Pebble cannot survive does not end the process. The engine is left behind with
// goroutines that can never return, so the cases run in a process of their own.
func TestBroken(t *testing.T) {
	t.Parallel()
	for name := range brokenCases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBrokenChild$", "-test.v")
			cmd.Env = append(os.Environ(), brokenEnv+"="+name)
			if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS: TestBrokenChild") {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
}

var brokenCases = map[string]func(t *testing.T){
	"log cannot be synced":      func(t *testing.T) { broken(t, errorfs.OpFileSync, ".log") },
	"log cannot be written":     func(t *testing.T) { broken(t, errorfs.OpFileWrite, ".log") },
	"manifest cannot be synced": func(t *testing.T) { broken(t, errorfs.OpFileSync, "MANIFEST") },
	"opened while full": func(t *testing.T) {
		fs := newFault(writes)
		q, err := Open(t.Context(), "queue", Options{FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		fs.set(syscall.ENOSPC)
		if _, err = Open(t.Context(), "queue", Options{FS: fs}); !errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), "damaged") {
			t.Fatalf("opening: %v", err)
		}
	},
	"closed while full": func(t *testing.T) {
		fs := newFault(writes)
		q, err := Open(t.Context(), "queue", Options{FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		fs.set(syscall.ENOSPC)
		for i := 0; err == nil && i < 100; i++ {
			_, err = q.Put(t.Context(), post(queuetest.NewEvent("x")))
		}
		if !errors.Is(err, bellhop.ErrUnavailable) {
			t.Fatalf("Put: %v", err)
		}
		if err := q.Close(); err == nil || !strings.Contains(err.Error(), "no space left") {
			t.Fatalf("Close: %v", err)
		}
	},
}

// broken injects an I/O error, which nothing heals.
func broken(t *testing.T, kind errorfs.OpKind, name string) {
	fs := newFault(func(op errorfs.Op) bool {
		return (op.Kind == kind || kind == errorfs.OpFileSync && op.Kind == errorfs.OpFileSyncData) && strings.Contains(op.Path, name)
	})
	q, err := Open(t.Context(), "queue", Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	fs.set(syscall.EIO)
	for i := range 100 { // enough to fill the tables in memory, for the manifest
		e := queuetest.NewEvent(queuetest.Noise(1 << 20))
		if _, err = q.Put(t.Context(), post(e)); err != nil {
			break
		}
		if i == 99 {
			eventually(t, "trouble", func() bool { return q.Healthy() != nil })
			_, err = q.Put(t.Context(), post(e))
		}
	}
	if !errors.Is(err, bellhop.ErrUnavailable) || !strings.Contains(err.Error(), "see to the volume and restart") {
		t.Fatalf("Put: %v", err)
	}
	fs.heal()
	if _, err := q.Put(t.Context(), post(queuetest.NewEvent(""))); !errors.Is(err, bellhop.ErrUnavailable) {
		t.Fatalf("Put after an I/O error: %v", err)
	}
	if err := q.Close(); err == nil || !strings.Contains(err.Error(), "input/output error") {
		t.Fatalf("Close: %v", err)
	}
}

func TestBrokenChild(t *testing.T) { //nolint:paralleltest // a process of its own
	name := os.Getenv(brokenEnv)
	if name == "" {
		t.Skip("started by TestBroken")
	}
	brokenCases[name](t)
}
