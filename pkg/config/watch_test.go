package config

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/goleak"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// volume imitates kubelet's AtomicWriter: the files lie in a directory named after the time, ..data links to
// it, and every file is a link through ..data. A change makes another directory and renames a new ..data over
// the old one.
type volume struct {
	dir  string
	next int
}

func (v *volume) swap(tb testing.TB, files map[string]string) {
	tb.Helper()
	v.next++
	name := fmt.Sprintf("..2026_11_21_10_00_00.%09d", v.next)
	ts := filepath.Join(v.dir, name)
	old, _ := os.Readlink(filepath.Join(v.dir, "..data"))
	for file, data := range files {
		writeFile(tb, filepath.Join(ts, file), data)
	}
	tmp := filepath.Join(v.dir, "..data_tmp")
	must(tb, os.Symlink(name, tmp))
	must(tb, os.Rename(tmp, filepath.Join(v.dir, "..data")))
	for file := range files {
		first, _, _ := strings.Cut(file, "/")
		if err := os.Symlink(filepath.Join("..data", first), filepath.Join(v.dir, first)); err != nil && !errors.Is(err, os.ErrExist) {
			tb.Fatal(err)
		}
	}
	if old != "" {
		must(tb, os.RemoveAll(filepath.Join(v.dir, old)))
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func writeFile(tb testing.TB, path, data string) {
	tb.Helper()
	must(tb, os.MkdirAll(filepath.Dir(path), 0o777))
	must(tb, os.WriteFile(path, []byte(data), 0o666))
}

// generation is a configuration in two files that fit together only if they are of the same generation.
func generation(n int) map[string]string {
	return map[string]string{
		"a.yaml": fmt.Sprintf("apiVersion: bellhop.dev/v1\nkind: Config\nendpoints:\n- {name: app, source: any, keyPath: app.key}\nroutes:\n- {name: r, to: [sink-%d]}\n", n),
		"b.yaml": fmt.Sprintf("apiVersion: bellhop.dev/v1\nkind: Config\nproviders:\n- {name: sink-%d, type: any}\n", n),
	}
}

type nothing struct{}

func (nothing) Verify(context.Context, *bellhop.Request) error  { return nil }
func (nothing) Parse(*bellhop.Request) ([]bellhop.Event, error) { return nil, nil }
func (nothing) Send(context.Context, *bellhop.Event) error      { return nil }

var anything = bellhop.Catalog{
	Sources: []bellhop.Kind[bellhop.Source]{bellhop.Define("any", "", struct{}{}, func(bellhop.Setup, struct{}) (bellhop.Source, error) {
		return nothing{}, nil
	}, bellhop.SourceTraits{Verification: bellhop.BySignature})},
	Providers: []bellhop.Kind[bellhop.Provider]{bellhop.Define("any", "", struct{}{}, func(bellhop.Setup, struct{}) (bellhop.Provider, error) {
		return nothing{}, nil
	})},
}

// mounts are a configuration and its Secrets as kubelet mounts them, and a watch that loads them.
type mounts struct {
	config, secrets *volume
	// loaded brings the name of the provider and the fingerprint of each good load.
	loaded chan [2]string
}

func watchMounts(t *testing.T, o WatchOptions) *mounts {
	t.Helper()
	root := t.TempDir()
	m := &mounts{
		config:  &volume{dir: filepath.Join(root, "mnt", "config")},
		secrets: &volume{dir: filepath.Join(root, "mnt", "secrets")},
		loaded:  make(chan [2]string, 10_000),
	}
	for _, v := range []*volume{m.config, m.secrets} {
		must(t, os.MkdirAll(v.dir, 0o777))
	}
	m.secrets.swap(t, map[string]string{"app.key": strings.Repeat("k", 32)})
	m.config.swap(t, generation(0))
	l := &Loader{Config: m.config.dir, Secrets: m.secrets.dir, Catalog: anything}
	o.Paths = l.Paths
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		Watch(ctx, o, func() {
			s, ps := l.Load()
			if ps.Err() != nil {
				m.loaded <- [2]string{"broken: " + ps.Error()}
				return
			}
			m.loaded <- [2]string{s.Providers[0].Name, s.Endpoints[0].Fingerprints[0]}
		})
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return m
}

// await takes loads until one is of generation n.
func (m *mounts) await(t *testing.T, n int) (fingerprint string) {
	t.Helper()
	want := fmt.Sprintf("sink-%d", n)
	for {
		select {
		case got := <-m.loaded:
			if strings.HasPrefix(got[0], "broken") {
				t.Fatalf("a configuration that was never there was loaded: %s", got[0])
			}
			if got[0] == want {
				return got[1]
			}
		case <-time.After(time.Minute):
			t.Fatalf("generation %d was never loaded", n)
		}
	}
}

// TestLoadMoving: files that change under every attempt are a problem, not a configuration.
func TestLoadMoving(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	file := filepath.Join(root, "a.yaml")
	writeFile(t, file, generation(0)["b.yaml"])
	n := 0
	catalog := bellhop.Catalog{Providers: []bellhop.Kind[bellhop.Provider]{
		bellhop.Define("any", "", struct{}{}, func(bellhop.Setup, struct{}) (bellhop.Provider, error) {
			// Whatever is built, the file is another one by now.
			n++
			must(t, os.WriteFile(file+".new", []byte(generation(n)["b.yaml"]), 0o666))
			must(t, os.Rename(file+".new", file))
			return nothing{}, nil
		}),
	}}
	s, ps := (&Loader{Config: file, Catalog: catalog}).Load()
	if n != attempts || len(ps.Fatal()) != 1 || !strings.Contains(ps.Error(), "let them rest") || len(s.Providers) != 0 {
		t.Errorf("after %d attempts: %d providers, problems: %v", n, len(s.Providers), ps)
	}
}

// TestWatchSwaps: each of 200 swaps becomes active, by events alone, and none is seen by halves.
func TestWatchSwaps(t *testing.T) {
	t.Parallel()
	m := watchMounts(t, WatchOptions{Debounce: time.Millisecond, Poll: time.Hour})
	m.await(t, 0)
	for n := 1; n <= 200; n++ {
		m.config.swap(t, generation(n))
		m.await(t, n)
	}
}

// TestWatchStorm: swaps that nobody waits for, with noise beside them, end in the last one.
func TestWatchStorm(t *testing.T) {
	t.Parallel()
	m := watchMounts(t, WatchOptions{Debounce: time.Millisecond, Poll: time.Hour})
	for n := 1; n <= 200; n++ {
		m.config.swap(t, generation(n))
		for i := range 4 {
			writeFile(t, filepath.Join(m.config.dir, "..noise", fmt.Sprint(i)), "x")
			writeFile(t, filepath.Join(m.config.dir, "notes.txt"), fmt.Sprint(n, i))
		}
	}
	m.await(t, 200)
}

// TestWatchSecrets: another key makes another URL.
func TestWatchSecrets(t *testing.T) {
	t.Parallel()
	m := watchMounts(t, WatchOptions{Debounce: time.Millisecond, Poll: time.Hour})
	before := m.await(t, 0)
	m.secrets.swap(t, map[string]string{"app.key": strings.Repeat("n", 32)})
	for m.await(t, 0) == before {
	}
}

// TestWatchDirectoryReplaced: a directory that is removed and made again, and one that another is renamed
// over, are watched again without a poll.
func TestWatchDirectoryReplaced(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	dir := filepath.Join(root, "sub", "dir")
	file := filepath.Join(dir, "file")
	writeFile(t, file, "0")
	changes := startWatch(t, WatchOptions{Paths: paths(dir), Debounce: time.Millisecond, Poll: time.Hour}, file)
	awaitText(t, changes, "0")
	for n := range 5 {
		must(t, os.RemoveAll(filepath.Dir(dir)))
		awaitText(t, changes, "")
		gone := fmt.Sprint("removed ", n)
		writeFile(t, file, gone)
		awaitText(t, changes, gone)
		edited := fmt.Sprint("edited ", n)
		writeFile(t, file, edited)
		awaitText(t, changes, edited)
		moved := fmt.Sprint("moved ", n)
		writeFile(t, filepath.Join(root, "other", "file"), moved)
		must(t, os.Rename(dir, filepath.Join(root, fmt.Sprint("old", n))))
		must(t, os.Rename(filepath.Join(root, "other"), dir))
		awaitText(t, changes, moved)
		edited += " again"
		writeFile(t, file, edited)
		awaitText(t, changes, edited)
	}
}

// TestWatchNewPlaces: subdirectories and files that come later are watched as well.
func TestWatchNewPlaces(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	file := filepath.Join(root, "secrets", "slack", "address")
	changes := startWatch(t, WatchOptions{Paths: paths(filepath.Join(root, "secrets")), Debounce: time.Millisecond, Poll: time.Hour}, file)
	awaitText(t, changes, "")
	for _, text := range []string{"one", "two", "three"} {
		writeFile(t, file, text)
		awaitText(t, changes, text)
	}
}

func paths(p ...string) func() []string { return func() []string { return p } }

// startWatch watches and brings the text of file at each change, "" while it is not there.
func startWatch(t *testing.T, o WatchOptions, file string) <-chan string {
	t.Helper()
	changes := make(chan string, 10_000)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		Watch(ctx, o, func() {
			data, _ := os.ReadFile(file)
			changes <- string(data)
		})
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return changes
}

func awaitText(t *testing.T, changes <-chan string, want string) {
	t.Helper()
	for {
		select {
		case got := <-changes:
			if got == want {
				return
			}
		case <-time.After(time.Minute):
			t.Fatalf("%q was never seen", want)
		}
	}
}

// TestWatchWithoutEvents: where the system gives no events, or no watch, the poll finds the change.
func TestWatchWithoutEvents(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func() (*events, error){
		"no inotify": func() (*events, error) { return nil, errors.New("too many open files") },
		"no watch": func() (*events, error) {
			return &events{
				add:     func(string) error { return errors.New("no space left on device") },
				remove:  func(string) error { return fsnotify.ErrNonExistentWatch },
				watched: func() []string { return nil },
				close:   func() error { return nil },
			}, nil
		},
		"ended": func() (*events, error) {
			e, errs := make(chan fsnotify.Event), make(chan error)
			close(e)
			close(errs)
			nop := func(string) error { return nil }
			return &events{nop, nop, func() []string { return nil }, func() error { return nil }, e, errs}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "file")
			synctest.Test(t, func(t *testing.T) {
				var calls atomic.Int32
				ctx, cancel := context.WithCancel(t.Context())
				go Watch(ctx, WatchOptions{Paths: paths(file), open: open}, func() { calls.Add(1) })
				after := func(d time.Duration, want int32) {
					t.Helper()
					<-time.After(d)
					synctest.Wait()
					if got := calls.Load(); got != want {
						t.Errorf("%d calls, want %d", got, want)
					}
				}
				after(time.Second, 1)
				writeFile(t, file, "one")
				after(8*time.Second, 1)
				after(2*time.Second, 2)
				after(time.Hour, 2)
				writeFile(t, file, "two")
				after(DefaultPoll, 3)
				// The same bytes in another file are no change.
				must(t, os.Remove(file))
				writeFile(t, file, "two")
				after(time.Hour, 3)
				must(t, os.Remove(file))
				after(DefaultPoll, 4)
				cancel()
				synctest.Wait()
			})
		})
	}
}

// TestWatchDebounce: a burst of events is one look, lost events are an event, and events beside the paths
// are none.
func TestWatchDebounce(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	dir, file := filepath.Join(root, "dir"), filepath.Join(root, "dir", "file")
	writeFile(t, file, "0")
	synctest.Test(t, func(t *testing.T) {
		in, errs := make(chan fsnotify.Event), make(chan error)
		nop := func(string) error { return nil }
		open := func() (*events, error) {
			return &events{nop, nop, func() []string { return nil }, func() error { return nil }, in, errs}, nil
		}
		var looks, calls atomic.Int32
		ctx, cancel := context.WithCancel(t.Context())
		go Watch(ctx, WatchOptions{Paths: func() []string { looks.Add(1); return []string{dir} }, Poll: time.Hour, open: open}, func() { calls.Add(1) })
		expect := func(wantLooks, wantCalls int32) {
			t.Helper()
			<-time.After(DefaultDebounce)
			synctest.Wait()
			if l, c := looks.Load(), calls.Load(); l != wantLooks || c != wantCalls {
				t.Errorf("%d looks and %d calls, want %d and %d", l, c, wantLooks, wantCalls)
			}
		}
		expect(1, 1)
		writeFile(t, file, "1")
		for range 1000 {
			in <- fsnotify.Event{Name: file, Op: fsnotify.Write}
		}
		expect(2, 2)
		in <- fsnotify.Event{Name: file, Op: fsnotify.Chmod}
		expect(3, 2)
		errs <- fsnotify.ErrEventOverflow
		expect(4, 2)
		in <- fsnotify.Event{Name: filepath.Join(root, "beside"), Op: fsnotify.Write}
		expect(4, 2)
		in <- fsnotify.Event{Name: dir, Op: fsnotify.Create}
		expect(5, 2)
		in <- fsnotify.Event{Name: filepath.Join(root, "..data"), Op: fsnotify.Create}
		expect(6, 2)
		cancel()
		synctest.Wait()
	})
}

// TestWatchChanged: what is no file is looked at after the same pause, once for a burst, whatever the files say.
func TestWatchChanged(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		changed := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		none := func() (*events, error) { return nil, errors.New("none") }
		go Watch(ctx, WatchOptions{Paths: paths(file), Changed: changed, open: none}, func() { calls.Add(1) })
		synctest.Wait()
		for range 5 {
			changed <- struct{}{}
		}
		synctest.Wait()
		if got := calls.Load(); got != 1 {
			t.Errorf("%d calls before the pause, want the one of the start", got)
		}
		<-time.After(DefaultDebounce)
		synctest.Wait()
		if got := calls.Load(); got != 2 {
			t.Errorf("%d calls after a burst, want one more", got)
		}
		<-time.After(time.Hour)
		synctest.Wait()
		if got := calls.Load(); got != 2 {
			t.Errorf("%d calls after an hour without changes, want no more", got)
		}
		cancel()
		synctest.Wait()
	})
}
