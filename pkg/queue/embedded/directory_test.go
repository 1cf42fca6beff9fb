package embedded

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/queuetest"
)

// contents are the files of a directory with what is in them, the lock excepted.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == lockName {
			return err
		}
		b, err := os.ReadFile(path)
		files[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// filled is a directory with a queue that holds one event, and the event's id.
func filled(t *testing.T) (dir, id string) {
	t.Helper()
	dir = t.TempDir()
	q, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	e := queuetest.NewEvent("body")
	if _, err := q.Put(t.Context(), &bellhop.Post{Items: []bellhop.Item{{Event: e, To: []bellhop.Target{{Provider: "p"}}}}}); err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, e.ID
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	write := func(name, text string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	overwrite := func(pattern string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			names, err := filepath.Glob(filepath.Join(dir, pattern))
			if err != nil || len(names) == 0 {
				t.Fatalf("no %s: %v", pattern, err)
			}
			for _, name := range names {
				if err := os.WriteFile(name, []byte("this is nothing that Pebble could have written"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	remove := func(pattern string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			names, err := filepath.Glob(filepath.Join(dir, pattern))
			if err != nil || len(names) == 0 {
				t.Fatalf("no %s: %v", pattern, err)
			}
			for _, name := range names {
				if err := os.Remove(name); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, c := range []struct {
		name  string
		empty bool
		spoil func(*testing.T, string)
		want  string
	}{
		{"foreign file", true, write("photo.jpg", "x"), `holds "photo.jpg" but no queue: nothing was touched; set BELLHOP_QUEUE to an empty directory`},
		{"foreign Pebble", false, remove(markerName), "but no queue: nothing was touched"},
		{"newer version", false, write(markerName, markerText+"2\n"), "has version 2, this bellhop knows up to 1: nothing was touched; run the newer bellhop"},
		{"damaged marker", false, write(markerName, "bellhop"), "is damaged: nothing was touched; restore the directory from a backup"},
		{"version zero", false, write(markerName, markerText+"0\n"), "is damaged: nothing was touched"},
		{"manifest gone", false, remove("MANIFEST-*"), "is damaged: restore the directory from a backup, or move it away"},
		{"manifest marker gone", false, remove("marker.manifest.*"), "the manifest is not"},
		{"manifest damaged", false, overwrite("MANIFEST-*"), "is damaged: restore the directory from a backup"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if !c.empty {
				dir, _ = filled(t)
			}
			c.spoil(t, dir)
			before := contents(t, dir)
			q, err := Open(t.Context(), dir, Options{})
			if err == nil {
				t.Fatal(errors.Join(errors.New("opened"), q.Close()))
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("error %q, want it to name the directory and say %q", err, c.want)
			}
			after := contents(t, dir)
			for name, text := range before {
				if after[name] != text {
					t.Errorf("%s was changed", name)
				}
			}
		})
	}
}

func TestOpenAFile(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), name, Options{}); err == nil || !strings.Contains(err.Error(), name) {
		t.Fatalf("opening a file: %v", err)
	}
}

func TestOpenMakesDirectories(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	q, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestVolumeRoot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}
	q, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestBegunAndKilled(t *testing.T) {
	t.Parallel()
	for _, left := range []string{lockName, markerName + ".new"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, left), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		q, err := Open(t.Context(), dir, Options{})
		if err != nil {
			t.Fatalf("a killed beginning left %s: %v", left, err)
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSecondOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	q, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := "queue directory " + dir + " is in use by another process (" + self() + "): stop that one"
	if _, err := Open(t.Context(), dir, Options{}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a second opening in this process: %v", err)
	}
	if out, err := elsewhere(t, dir, "refused").CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
		t.Errorf("a second process: %v\n%s", err, out)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if q, err = Open(t.Context(), dir, Options{}); err != nil {
		t.Fatalf("after the first was closed: %v", err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// elsewhere is TestOpenElsewhere as a process of its own, for a directory.
func elsewhere(t *testing.T, dir, do string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOpenElsewhere$", "-test.v")
	cmd.Env = append(os.Environ(), "BELLHOP_TEST_OPEN="+dir, "BELLHOP_TEST_DO="+do)
	return cmd
}

// TestOpenElsewhere is the other process: it is refused, or holds the directory until its standard input ends.
func TestOpenElsewhere(t *testing.T) { //nolint:paralleltest // a process of its own
	dir := os.Getenv("BELLHOP_TEST_OPEN")
	if dir == "" {
		t.Skip("started by other tests")
	}
	q, err := Open(t.Context(), dir, Options{})
	if os.Getenv("BELLHOP_TEST_DO") == "refused" {
		if err == nil {
			t.Fatal(errors.Join(errors.New("opened twice"), q.Close()))
		}
		t.Log(err)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(held)
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		t.Error(err)
	}
	if err := q.Close(); err != nil {
		t.Error(err)
	}
}

// held is what the process that holds the directory prints.
const held = "the queue is open"

// hold starts a process that has the directory open until let, or the test, ends it.
func hold(t *testing.T, dir string) (let io.Closer, cmd *exec.Cmd) {
	t.Helper()
	cmd = elsewhere(t, dir, "hold")
	let, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() == held {
			return let, cmd
		}
	}
	t.Fatal("the other process did not open the queue")
	return nil, nil
}

// told passes on what a log says to operators, with its attributes.
type told struct {
	slog.Handler
	lines chan string
}

func listen() told { return told{slog.DiscardHandler, make(chan string, 100)} }

func (h told) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

func (h told) Handle(_ context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += " " + a.String()
		return true
	})
	h.lines <- line
	return nil
}

// A pod that comes while the one before it still stops gets the queue as soon as that one has closed it, or died.
func TestOpenWaits(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(let io.Closer, cmd *exec.Cmd) error{
		"closed": func(let io.Closer, _ *exec.Cmd) error { return let.Close() },
		"killed": func(_ io.Closer, cmd *exec.Cmd) error { return cmd.Process.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			let, cmd := hold(t, dir)
			log := listen()
			opened := make(chan error, 1)
			go func() {
				q, err := Open(t.Context(), dir, Options{LockWait: time.Minute, Logger: slog.New(log)})
				if err == nil {
					err = q.Close()
				}
				opened <- err
			}()
			host, _ := os.Hostname()
			want := fmt.Sprintf("waiting for the queue: another process has it open dir=%s owner=host %s, process %d for=1m0s", dir, host, cmd.Process.Pid)
			if got := <-log.lines; got != want {
				t.Errorf("logged %q, want %q", got, want)
			}
			if err := end(let, cmd); err != nil {
				t.Fatal(err)
			}
			if err := <-opened; err != nil {
				t.Error(err)
			}
			if len(log.lines) > 0 {
				t.Errorf("logged %q too", <-log.lines)
			}
			if err := cmd.Wait(); err != nil && name == "closed" {
				t.Errorf("the other process: %v", err)
			}
		})
	}
}

// What waits for the queue gives up in time, and at once when it is stopped or could never have it.
func TestOpenGivesUp(t *testing.T) {
	t.Parallel()
	taken := func(t *testing.T) vfs.FS {
		t.Helper()
		fs := vfs.NewMem()
		if err := fs.MkdirAll("queue", 0o700); err != nil {
			t.Fatal(err)
		}
		lock, err := fs.Lock("queue/" + lockName)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = lock.Close() })
		return fs
	}
	stopped := errors.New("told to stop")
	for name, c := range map[string]struct {
		fs    func(*testing.T) vfs.FS
		stop  time.Duration // after which ctx ends
		want  string
		after time.Duration
	}{
		"in time":   {taken, time.Hour, "is in use by another process (unknown): stop that one", time.Minute},
		"stopped":   {taken, 3 * time.Second, "waiting for the queue in queue: told to stop", 3 * time.Second},
		"forbidden": {func(*testing.T) vfs.FS { return unlockable{vfs.NewMem()} }, time.Hour, "locking the queue's directory queue: open LOCK: permission denied", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(c.stop, func() { cancel(stopped) })
				begin := time.Now()
				log := listen()
				_, err := Open(ctx, "queue", Options{FS: c.fs(t), LockWait: time.Minute, Logger: slog.New(log)})
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v, want %q", err, c.want)
				}
				if took := time.Since(begin); took != c.after {
					t.Errorf("after %v, want %v", took, c.after)
				}
				if waits := c.after > 0; waits != (len(log.lines) == 1) {
					t.Errorf("%d lines in the log, want one if it waits", len(log.lines))
				}
			})
		})
	}
}

// unlockable is a file system whose lock cannot be opened.
type unlockable struct{ vfs.FS }

func (unlockable) Lock(string) (io.Closer, error) {
	return nil, &os.PathError{Op: "open", Path: lockName, Err: os.ErrPermission}
}
