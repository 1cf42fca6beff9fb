package embedded

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	// markerName is the file that makes a directory a queue's. Its text is markerText and a version.
	markerName    = "BELLHOP-QUEUE"
	markerText    = "bellhop queue, version "
	markerVersion = 1

	lockName = "LOCK" // Pebble's
)

// claim makes sure that dir is a queue of a version we know, or empty, and locks it. A directory that is
// neither is left untouched.
func claim(fs vfs.FS, dir string) (*pebble.Lock, error) {
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the queue's directory: %w", err)
	}
	marked, err := inspect(fs, dir)
	if err != nil {
		return nil, err
	}
	lock, err := pebble.LockDirectory(dir, fs)
	if err != nil {
		return nil, fmt.Errorf("queue directory %s is in use by another process: stop that one, or set BELLHOP_QUEUE to a directory of its own: %w", dir, err)
	}
	if !marked {
		if err := mark(fs, dir); err != nil {
			return nil, errors.Join(fmt.Errorf("marking %s as a queue: %w", dir, err), lock.Close())
		}
	}
	return lock, nil
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
	desc, err := pebble.Peek(dir, fs)
	if err != nil {
		return false, damaged(dir, err)
	}
	if !desc.Exists {
		for _, name := range names {
			if isTable(name) || strings.HasSuffix(name, ".log") {
				return false, damaged(dir, fmt.Errorf("%s is there, the manifest is not", name))
			}
		}
	}
	return true, nil
}

func damaged(dir string, err error) error {
	return fmt.Errorf("queue in %s is damaged: restore the directory from a backup, or move it away to begin with an empty queue: %w", dir, err)
}

// mark writes the marker, whole or not at all.
func mark(fs vfs.FS, dir string) error {
	name := fs.PathJoin(dir, markerName)
	f, err := fs.Create(name+".new", vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s%d\n", markerText, markerVersion)
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
