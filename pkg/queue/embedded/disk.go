package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// How the engine lives through a full disk.
//
// Pebble gives up for good when its write-ahead log or its manifest cannot be written. So it never learns of
// it: disk stands between Pebble and the file system, and
//
//   - keeps a reserve: below it the queue takes no more events, while deliveries go on and room is made;
//   - keeps a ballast file: when a write to log or manifest finds the disk full all the same, the ballast is
//     given up and the write tried again;
//   - when even that is gone, holds the write until there is room; who waits for it is told ErrUnavailable;
//   - fails writes of tables after a moment's rest: Pebble removes what it began and tries again.
//
// Once there is room again, ballast included, the queue takes events again. What no waiting heals, such as an
// I/O error of the log, fails the queue until the process restarts and Pebble recovers from its log.
const (
	ballastName = "BELLHOP-BALLAST"

	watchPeriod = time.Second            // between looks at the free space
	tightPeriod = 100 * time.Millisecond // the same while there is trouble
	tableRest   = time.Second            // before Pebble is told that a table could not be written
	watchBytes  = 4 << 20                // accepted between looks at the free space

	// What is in the log at the end is written once more at the next start, before the log can go.
	minReserve = memTables*memTableSize + 8<<20
	maxReserve = 256 << 20
)

// disk is the file system that Pebble sees.
type disk struct {
	vfs.FS
	dir string
	log *slog.Logger

	// live is set once Pebble is open: before, errors are returned as they are and fail the opening.
	live    atomic.Bool
	written atomic.Int64
	closing chan struct{}
	watcher sync.WaitGroup

	mu      sync.Mutex
	trouble error         // why no event is taken now; nil if it is
	failed  bool          // for good
	held    int           // writes that wait for room
	ballast bool          // the ballast is there
	changed chan struct{} // closed when trouble begins

	// stuck is closed when a goroutine of Pebble's was parked: Pebble cannot be closed then, only left.
	stuck     chan struct{}
	stuckOnce sync.Once
}

func newDisk(fs vfs.FS, dir string, log *slog.Logger) *disk {
	return &disk{FS: fs, dir: dir, log: log, closing: make(chan struct{}), changed: make(chan struct{}), stuck: make(chan struct{})}
}

// start begins to watch.
func (d *disk) start() {
	_ = d.look() // healthy tells
	d.watcher.Go(d.watch)
}

func (d *disk) watch() {
	timer := time.NewTimer(watchPeriod)
	defer timer.Stop()
	for {
		select {
		case <-d.closing:
			return
		case <-timer.C:
		}
		period := watchPeriod
		if d.look() != nil {
			period = tightPeriod
		}
		timer.Reset(period)
	}
}

// stop ends the watch. From here on a write that cannot be done gets stuck for good.
func (d *disk) stop() {
	close(d.closing)
	d.watcher.Wait()
}

// healthy is nil if an event can be taken.
func (d *disk) healthy() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.trouble
}

// holds reports whether writes wait for room.
func (d *disk) holds() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.held > 0 || d.failed
}

// troubled is closed when trouble begins, and already closed while there is trouble.
func (d *disk) troubled() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changed
}

// accepted counts bytes on their way to the disk and looks at the free space now and then.
func (d *disk) accepted(n int) {
	if total := d.written.Add(int64(n)); total/watchBytes != (total-int64(n))/watchBytes {
		_ = d.look() // healthy tells
	}
}

// look compares the free space with the reserve, restores the ballast, and says what is wrong.
func (d *disk) look() error {
	usage, err := d.FS.GetDiskUsage(d.dir)
	known := err == nil && usage.TotalBytes > 0
	reserve := reserveOf(usage.TotalBytes)

	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed {
		return d.trouble
	}
	need := reserve
	if !d.ballast {
		need += reserve / 4
	}
	if d.trouble != nil { // do not come back for a few bytes
		need += reserve / 4
	}
	if known && usage.AvailBytes < need {
		d.setTrouble(fmt.Errorf("%s: %d MiB free of %d MiB, %d MiB are needed: make room or enlarge the volume",
			d.dir, usage.AvailBytes>>20, usage.TotalBytes>>20, need>>20))
		return d.trouble
	}
	if !d.ballast {
		if err := d.fillBallast(reserve / 4); isFull(err) {
			d.setTrouble(fmt.Errorf("%s: %w: make room or enlarge the volume", d.dir, err))
			return d.trouble
		}
	}
	if d.trouble != nil && d.held == 0 {
		d.trouble = nil
		d.changed = make(chan struct{})
		d.log.Info("queue takes events again", "dir", d.dir)
	}
	return d.trouble
}

// reserveOf is the room kept free on a volume: a fiftieth, within bounds, and never over a half.
func reserveOf(total uint64) uint64 {
	return min(max(total/50, minReserve), maxReserve, total/2)
}

// setTrouble begins trouble, or renews its reason. The caller holds d.mu.
func (d *disk) setTrouble(err error) {
	if d.trouble == nil {
		d.log.Error("queue takes no events", "error", err)
		close(d.changed)
	}
	d.trouble = fmt.Errorf("%w: %w", bellhop.ErrUnavailable, err)
}

// fillBallast makes the ballast, or tells that there is no room for it. Where the file system cannot reserve
// space there is none, and making the file is still a probe. The caller holds d.mu.
func (d *disk) fillBallast(size uint64) error {
	name := d.FS.PathJoin(d.dir, ballastName)
	f, err := d.FS.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	err = f.Preallocate(0, int64(size))
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if isFull(err) {
		err = errors.Join(err, d.FS.Remove(name))
	}
	d.ballast = err == nil
	return err
}

// dropBallast gives the ballast's room to the log. It reports whether there was one.
func (d *disk) dropBallast() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	had := d.ballast
	d.ballast = false
	if had {
		_ = d.FS.Remove(d.FS.PathJoin(d.dir, ballastName)) // in vain at worst: the write is held then
		d.setTrouble(fmt.Errorf("%s: no space left: make room or enlarge the volume", d.dir))
	}
	return had
}

// isFull reports whether err means that there is no room, which may change.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// isTable reports whether Pebble can bear the loss of a file that it could not write.
func isTable(name string) bool {
	return strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".blob")
}

// insist does what Pebble cannot live without, and returns only when it is done. A write that may be tried
// again (retry) waits for room; every other error is for good.
func (d *disk) insist(name string, retry bool, do func() error) error {
	if !d.live.Load() {
		return do()
	}
	held := false
	for {
		err := do()
		switch {
		case err == nil:
			if held {
				d.hold(-1, nil)
			}
			return nil
		case !retry || !isFull(err):
			d.fail(fmt.Errorf("writing %s: %w", path.Base(name), err))
			d.park()
		case d.dropBallast():
			continue
		}
		if !held {
			held = true
			d.hold(+1, err)
		}
		select {
		case <-time.After(tightPeriod):
		case <-d.closing:
			d.park()
		}
	}
}

// hold counts a write that begins or ceases to wait for room.
func (d *disk) hold(n int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held += n
	if err != nil {
		d.setTrouble(fmt.Errorf("%s: %w: make room or enlarge the volume", d.dir, err))
	}
}

// fail ends the queue's service until the process restarts.
func (d *disk) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.failed {
		d.failed = true
		d.setTrouble(fmt.Errorf("%s: %w: see to the volume and restart", d.dir, err))
	}
}

// tolerate passes on the error of a table after a rest, so that Pebble does not try again at once.
func (d *disk) tolerate(err error) error {
	if err == nil || !d.live.Load() {
		return err
	}
	d.mu.Lock()
	d.setTrouble(fmt.Errorf("%s: %w", d.dir, err))
	d.mu.Unlock()
	select {
	case <-time.After(tableRest):
	case <-d.closing:
	}
	return err
}

// park ends the life of one of Pebble's goroutines whose error would end the process: it never returns, and
// holds what it holds. The engine can only be left then.
func (d *disk) park() {
	d.stuckOnce.Do(func() { close(d.stuck) })
	select {}
}

func (d *disk) try(name string, do func() error) error {
	if isTable(name) {
		return d.tolerate(do())
	}
	return d.insist(name, true, do)
}

// wrapped makes a file of Pebble's subject to the rules.
func (d *disk) wrapped(name string, open func() (vfs.File, error)) (vfs.File, error) {
	var f vfs.File
	err := d.try(name, func() (err error) {
		f, err = open()
		return err
	})
	if err != nil {
		return nil, err
	}
	return &diskFile{File: f, d: d, name: name, table: isTable(name)}, nil
}

func (d *disk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.wrapped(name, func() (vfs.File, error) { return d.FS.Create(name, c) })
}

func (d *disk) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.wrapped(newname, func() (vfs.File, error) { return d.FS.ReuseForWrite(oldname, newname, c) })
}

func (d *disk) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return d.wrapped(name, func() (vfs.File, error) { return d.FS.OpenReadWrite(name, c, opts...) })
}

func (d *disk) OpenDir(name string) (vfs.File, error) {
	f, err := d.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &diskFile{File: f, d: d, name: name}, nil
}

func (d *disk) Link(oldname, newname string) error {
	return d.try(newname, func() error { return d.FS.Link(oldname, newname) })
}

func (d *disk) Rename(oldname, newname string) error {
	return d.try(newname, func() error { return d.FS.Rename(oldname, newname) })
}

func (d *disk) MkdirAll(dir string, perm os.FileMode) error {
	return d.try(dir, func() error { return d.FS.MkdirAll(dir, perm) })
}

// diskFile is a file that Pebble writes.
type diskFile struct {
	vfs.File
	d     *disk
	name  string
	table bool
}

func (f *diskFile) Write(p []byte) (written int, err error) {
	if f.table {
		written, err = f.File.Write(p)
		return written, f.d.tolerate(err)
	}
	err = f.d.insist(f.name, true, func() error {
		n, err := f.File.Write(p[written:])
		written += n // a full disk takes a part
		return err
	})
	return written, err
}

// A failed sync is never tried again: the kernel may have dropped the pages and would report success.
func (f *diskFile) sync(do func() error) error {
	if f.table {
		return f.d.tolerate(do())
	}
	return f.d.insist(f.name, false, do)
}

func (f *diskFile) Sync() error { return f.sync(f.File.Sync) }

func (f *diskFile) SyncData() error { return f.sync(f.File.SyncData) }

func (f *diskFile) SyncTo(length int64) (full bool, err error) {
	err = f.sync(func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}
