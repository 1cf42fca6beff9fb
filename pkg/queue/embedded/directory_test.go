package embedded

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

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
	q, err := Open(dir, Options{})
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
			q, err := Open(dir, Options{})
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
	if _, err := Open(name, Options{}); err == nil || !strings.Contains(err.Error(), name) {
		t.Fatalf("opening a file: %v", err)
	}
}

func TestOpenMakesDirectories(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	q, err := Open(dir, Options{})
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
	q, err := Open(dir, Options{})
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
		q, err := Open(dir, Options{})
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
	q, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := "queue directory " + dir + " is in use by another process: stop that one"
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a second opening in this process: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOpenElsewhere$", "-test.v")
	cmd.Env = append(os.Environ(), "BELLHOP_TEST_OPEN="+dir)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
		t.Errorf("a second process: %v\n%s", err, out)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if q, err = Open(dir, Options{}); err != nil {
		t.Fatalf("after the first was closed: %v", err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestOpenElsewhere is TestSecondOpen's other process.
func TestOpenElsewhere(t *testing.T) { //nolint:paralleltest // a process of its own
	dir := os.Getenv("BELLHOP_TEST_OPEN")
	if dir == "" {
		t.Skip("started by TestSecondOpen")
	}
	q, err := Open(dir, Options{})
	if err == nil {
		t.Fatal(errors.Join(errors.New("opened twice"), q.Close()))
	}
	t.Log(err)
}
