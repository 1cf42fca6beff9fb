package config

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Defaults of WatchOptions.
const (
	DefaultDebounce = 100 * time.Millisecond
	DefaultPoll     = 10 * time.Second
)

// WatchOptions say what is watched, and how closely.
type WatchOptions struct {
	// Paths are the files and directories that matter, such as those of Loader.Paths; it is asked at every
	// look. Of a directory matter the files in it and in its subdirectories, but nothing that begins with a
	// dot: what kubelet keeps there is seen through its links. What does not exist may come.
	Paths func() []string
	// Changed brings a value when something that is no file may have changed: it counts as an event, and calls
	// onChange whatever the files are like. nil: nothing but files matters.
	Changed <-chan struct{}
	// Debounce is the time from the first event of a burst to the look at the files; 0: DefaultDebounce.
	Debounce time.Duration
	// Poll is the time between looks that no event asked for; 0: DefaultPoll.
	Poll time.Duration
	// Logger is told when events are not to be had; nil: nobody is.
	Logger *slog.Logger

	// open starts the events of the file system; nil: inotify's and its like.
	open func() (*events, error)
}

// Watch calls onChange once at the start, so that nothing slips through since the caller last loaded, and
// then whenever the bytes of the files are others than at the call before, or Changed says so. Calls do not overlap. It returns
// when ctx ends.
//
// Events of the file system make it quick: kubelet's swap of ..data, files written in place, directories that
// are replaced. They are only a hint. They get lost with the watch when a directory is removed, when
// too many come at once, when the system has no watch left: so the content decides, and a slow poll looks at
// it in any case.
func Watch(ctx context.Context, o WatchOptions, onChange func()) {
	if o.Debounce <= 0 {
		o.Debounce = DefaultDebounce
	}
	if o.Poll <= 0 {
		o.Poll = DefaultPoll
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.open == nil {
		o.open = openEvents
	}
	w := &watcher{WatchOptions: o}
	var err error
	if w.events, err = o.open(); err != nil {
		o.Logger.Warn("watching the configuration: no events of the file system, so changes are found by looking", "every", o.Poll, "error", err)
		w.events = &events{}
	} else {
		defer func() { _ = w.events.close() }()
	}
	poll := time.NewTicker(o.Poll)
	defer poll.Stop()
	w.look()
	onChange()
	var settled <-chan time.Time
	told := false // something that is no file changed
	for {
		look := false
		select {
		case <-ctx.Done():
			return
		case e, ok := <-w.events.events:
			if !ok {
				w.events.events = nil
			} else if settled == nil && w.concerns(e.Name) {
				settled = time.After(o.Debounce)
			}
		case _, ok := <-w.events.errors:
			// Events were lost.
			if !ok {
				w.events.errors = nil
			} else if settled == nil {
				settled = time.After(o.Debounce)
			}
		case <-o.Changed:
			told = true
			if settled == nil {
				settled = time.After(o.Debounce)
			}
		case <-settled:
			settled, look = nil, true
		case <-poll.C:
			look = true
		}
		if look && (w.look() || told) {
			told = false
			onChange()
		}
	}
}

// events is what Watch needs of fsnotify. Nil channels never bring anything.
type events struct {
	add     func(dir string) error
	remove  func(dir string) error
	watched func() []string
	close   func() error
	events  <-chan fsnotify.Event
	errors  <-chan error
}

func openEvents() (*events, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	return &events{w.Add, w.Remove, w.WatchList, w.Close, w.Events, w.Errors}, nil
}

type watcher struct {
	WatchOptions
	events *events
	digest [sha256.Size]byte

	// dirs are the watched directories as they were when their watch began.
	dirs map[string]fs.FileInfo
	// contents are the directories in which everything matters; elsewhere only names do.
	contents map[string]bool
	names    map[string]bool
	// told: the log knows that some directory has no watch.
	told bool
}

// look renews the watches and reports whether the content changed since the last look. Watches come first:
// what changes after the reading brings an event.
func (w *watcher) look() bool {
	paths := w.Paths()
	for i := 0; !w.follow(paths) && i < 5; i++ {
		// A directory went away just now: one above it has to be watched instead.
	}
	digest := digestFiles(paths)
	changed := digest != w.digest
	w.digest = digest
	return changed
}

// concerns reports whether an event of name can be about the paths.
func (w *watcher) concerns(name string) bool {
	return w.contents[filepath.Dir(name)] || w.names[name] || strings.HasPrefix(filepath.Base(name), "..")
}

// follow watches the directories of the paths and those around them, since a directory that is removed and
// made again is a new one. Watches that got lost are made again. It reports whether all directories stayed
// where they were meanwhile.
func (w *watcher) follow(paths []string) bool {
	w.contents, w.names = map[string]bool{}, map[string]bool{}
	want := map[string]bool{}
	for _, path := range paths {
		path = filepath.Clean(path)
		w.names[path] = true
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			for _, dir := range append(subdirectories(path), path) {
				want[dir], w.contents[dir] = true, true
			}
		}
		// The nearest directory above that exists.
		for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
			if info, err := os.Stat(dir); err == nil && info.IsDir() || dir == filepath.Dir(dir) {
				want[dir] = true
				break
			}
			w.names[dir] = true
		}
	}
	for dir := range want {
		w.names[dir] = true
	}
	if w.events.add == nil {
		return true
	}
	alive := map[string]bool{}
	for _, dir := range w.events.watched() {
		alive[dir] = true
	}
	if w.dirs == nil {
		w.dirs = map[string]fs.FileInfo{}
	}
	for dir := range w.dirs {
		if !want[dir] {
			// It may be gone, and its watch with it.
			_ = w.events.remove(dir)
			delete(w.dirs, dir)
		}
	}
	stayed := true
	for dir := range want {
		info, err := os.Stat(dir)
		if err != nil {
			stayed = false
			continue
		}
		before, known := w.dirs[dir]
		if known && alive[dir] && os.SameFile(before, info) {
			continue
		}
		if alive[dir] {
			_ = w.events.remove(dir)
		}
		delete(w.dirs, dir)
		if err := w.events.add(dir); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				stayed = false
			} else if !w.told {
				w.Logger.Warn("watching the configuration: a directory has no events, so its changes are found by looking", "every", w.Poll, "error", err)
				w.told = true
			}
			continue
		}
		w.dirs[dir] = info
	}
	return stayed
}

// subdirectories are a directory's, without those that begin with a dot.
func subdirectories(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var dirs []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || !e.IsDir() && e.Type()&fs.ModeSymlink == 0 {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			dirs = append(dirs, path)
		}
	}
	return dirs
}

// digestFiles is a digest of the names and bytes of all files that the paths mean. What cannot be read counts
// as what keeps it from being read.
func digestFiles(paths []string) [sha256.Size]byte {
	files := map[string]bool{}
	for _, path := range paths {
		path = filepath.Clean(path)
		info, err := os.Stat(path)
		if err != nil || !info.IsDir() {
			files[path] = true
			continue
		}
		for _, dir := range append(subdirectories(path), path) {
			names, err := listFiles(dir)
			if err != nil {
				files[dir] = true
			}
			for _, name := range names {
				files[filepath.Join(dir, name)] = true
			}
		}
	}
	var b []byte
	for _, path := range slices.Sorted(maps.Keys(files)) {
		data, info, err := readRegular(path, maxConfigFile)
		switch {
		case err == nil:
			b = fmt.Appendf(b, "%q %x\n", path, sha256.Sum256(data))
		case info != nil:
			b = fmt.Appendf(b, "%q %v %d %v\n", path, err, info.Size(), info.ModTime().UnixNano())
		}
	}
	return sha256.Sum256(b)
}
