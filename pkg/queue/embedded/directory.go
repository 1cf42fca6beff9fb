package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	// markerName is the file that makes a directory a queue's. Its text is markerText and a version.
	markerName    = "BELLHOP-QUEUE"
	markerText    = "bellhop queue, version "
	markerVersion = 1

	// ownerName is the file that says who has the directory open.
	ownerName = "BELLHOP-OWNER"

	lockName = "LOCK" // Pebble's
)

// claim makes sure that dir is a queue of a version we know, or empty, and locks it, waiting as Options.LockWait
// says. A directory that is neither is left untouched.
func (q *Queue) claim(ctx context.Context) (*pebble.Lock, error) {
	fs, dir := q.o.FS, q.dir
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the queue's directory: %w", err)
	}
	if _, err := inspect(fs, dir); err != nil {
		return nil, err
	}
	lock, err := q.lockDirectory(ctx)
	if err != nil {
		return nil, err
	}
	if err := prepare(fs, dir); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// prepare makes a directory that nobody else writes any more ready to be opened.
func prepare(fs vfs.FS, dir string) error {
	marked, err := inspect(fs, dir) // again: whoever had the lock may have made it a queue
	if err != nil {
		return err
	}
	if marked {
		if err := complete(fs, dir); err != nil {
			return err
		}
	} else if err := replace(fs, dir, markerName, markerText+strconv.Itoa(markerVersion)); err != nil {
		return fmt.Errorf("marking %s as a queue: %w", dir, err)
	}
	_ = replace(fs, dir, ownerName, self()) // only whoever waits for the lock reads it: a full disk does without
	return nil
}

// lockPeriod is the time between two tries to get the lock, which nobody tells us of.
const lockPeriod = 100 * time.Millisecond

// lockDirectory takes the lock, or waits until the process that has it lets it go.
func (q *Queue) lockDirectory(ctx context.Context) (*pebble.Lock, error) {
	waiting, cancel := context.WithTimeout(ctx, q.o.LockWait)
	defer cancel()
	told := false
	for {
		lock, err := pebble.LockDirectory(q.dir, q.o.FS)
		if err == nil {
			return lock, nil
		}
		if !locked(err) {
			return nil, fmt.Errorf("locking the queue's directory %s: %w", q.dir, err)
		}
		if !told && waiting.Err() == nil {
			told = true
			q.log.Info("waiting for the queue: another process has it open", "dir", q.dir, "owner", owner(q.o.FS, q.dir), "for", q.o.LockWait)
		}
		select {
		case <-time.After(lockPeriod):
		case <-waiting.Done():
			if ctx.Err() != nil {
				return nil, fmt.Errorf("waiting for the queue in %s: %w", q.dir, context.Cause(ctx))
			}
			return nil, fmt.Errorf("queue directory %s is in use by another process (%s): stop that one, or set BELLHOP_QUEUE to a directory of its own: %w",
				q.dir, owner(q.o.FS, q.dir), err)
		}
	}
}

// locked reports whether an error of the lock means that another has it, and not that it cannot be had at all.
func locked(err error) bool {
	_, unopened := errors.AsType[*os.PathError](err)
	return !unopened && !errors.Is(err, syscall.ENOLCK)
}

// self is this process, as owner tells it to others. In a pod the host is the pod.
func self() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("host %s, process %d", host, os.Getpid())
}

// owner is who wrote last that the directory is theirs. The lock itself does not tell between pods.
func owner(fs vfs.FS, dir string) string {
	text, err := readFile(fs, fs.PathJoin(dir, ownerName))
	if text = strings.TrimSpace(text); err != nil || text == "" {
		return "unknown"
	}
	return text
}

// inspect reports whether dir is a queue; if not, it is as good as empty.
func inspect(fs vfs.FS, dir string) (marked bool, err error) {
	names, err := fs.List(dir)
	if err != nil {
		return false, fmt.Errorf("looking into the queue's directory: %w", err)
	}
	slices.Sort(names)
	if !slices.Contains(names, markerName) {
		for _, name := range names {
			// The root of a volume has lost+found; a lock alone is left by someone who just begins.
			if name != "lost+found" && name != lockName && name != markerName+".new" {
				return false, fmt.Errorf("directory %s holds %q but no queue: nothing was touched; set BELLHOP_QUEUE to an empty directory", dir, name)
			}
		}
		return false, nil
	}
	text, err := readFile(fs, fs.PathJoin(dir, markerName))
	if err != nil {
		return false, fmt.Errorf("reading the queue's marker: %w", err)
	}
	version, ok := strings.CutPrefix(strings.TrimSpace(text), markerText)
	n, err := strconv.Atoi(version)
	switch {
	case !ok || err != nil || n < 1:
		return false, fmt.Errorf("%s is damaged: nothing was touched; restore the directory from a backup, or move it away to begin with an empty queue", fs.PathJoin(dir, markerName))
	case n > markerVersion:
		return false, fmt.Errorf("queue in %s has version %d, this bellhop knows up to %d: nothing was touched; run the newer bellhop", dir, n, markerVersion)
	}
	return true, nil
}

// complete is nil unless what Pebble begins with is gone: it would begin anew over the rest. While another
// process has the queue open this may be so for a moment.
func complete(fs vfs.FS, dir string) error {
	desc, err := pebble.Peek(dir, fs)
	if err != nil {
		return damaged(dir, err)
	}
	if desc.Exists {
		return nil
	}
	names, err := fs.List(dir)
	if err != nil {
		return fmt.Errorf("looking into the queue's directory: %w", err)
	}
	slices.Sort(names)
	for _, name := range names {
		if isTable(name) || strings.HasSuffix(name, ".log") {
			return damaged(dir, fmt.Errorf("%s is there, the manifest is not", name))
		}
	}
	return nil
}

func damaged(dir string, err error) error {
	return fmt.Errorf("queue in %s is damaged: restore the directory from a backup, or move it away to begin with an empty queue: %w", dir, err)
}

// replace writes a small file, whole or not at all.
func replace(fs vfs.FS, dir, base, text string) error {
	name := fs.PathJoin(dir, base)
	f, err := fs.Create(name+".new", vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, text+"\n")
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fs.Rename(name+".new", name); err != nil {
		return err
	}
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func readFile(fs vfs.FS, name string) (string, error) {
	f, err := fs.Open(name)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(f, 1<<10))
	return string(b), errors.Join(err, f.Close())
}

// removeBallast makes room for what opening has to write.
func removeBallast(fs vfs.FS, dir string) error {
	err := fs.Remove(fs.PathJoin(dir, ballastName))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
