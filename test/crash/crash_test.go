package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// program is the real one, built for this test.
var program string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	dir, err := os.MkdirTemp("", "bellhop-crash-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "bellhop")
	// As `make build` does, so that the compiler's cache serves both.
	build := exec.Command("go", "build", "-trimpath", "-o", program, "../../cmd/bellhop")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "building the program:", err)
		return 1
	}
	return m.Run()
}

// TestNothingIsLost is a short run of what `make crash` does at length.
func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	dependOnProgram(t)
	r, err := crash(t.Context(), options{
		Program: program, Dir: t.TempDir(), Rounds: 5, Connections: 8, Each: 300, Drain: time.Minute, Log: t.Output(),
	})
	t.Log(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.verdict(); err != nil {
		t.Error(err)
	}
}

// dependOnProgram looks at the program's source, so that the go command, which remembers what a test looked
// at, runs the test again when the program has changed.
func dependOnProgram(t *testing.T) {
	t.Helper()
	for _, dir := range []string{"../../cmd", "../../pkg"} {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err == nil {
				_, err = os.Stat(path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		r    report
		ok   bool
	}{
		{"lost", report{Acknowledged: 2, Delivered: 1, Lost: 1, Broken: 1}, false},
		{"no load", report{}, false},
		{"no crash under load", report{Acknowledged: 1, Delivered: 1}, false},
		{"duplicates are allowed", report{Acknowledged: 1, Delivered: 1, Duplicates: 3, Broken: 1}, true},
	} {
		if err := tc.r.verdict(); (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

// TestLedger: each number counts once, whatever came first.
func TestLedger(t *testing.T) {
	t.Parallel()
	l := &ledger{acknowledged: map[int64]bool{}, delivered: map[int64]int64{}, news: make(chan struct{}, 1)}
	body := func(id string) []byte { return []byte(`{"id":"x","deliveryId":"` + id + `"}`) }
	l.deliver(body("be110000-0000-4000-8000-000000000001")) // delivered before it is acknowledged
	l.acknowledge(1, time.Time{}, time.Time{})
	l.acknowledge(2, time.Time{}, time.Time{})              // lost
	l.deliver(body("be110000-0000-4000-8000-000000000003")) // the answer was lost
	l.deliver(body("be110000-0000-4000-8000-000000000001")) // a duplicate
	l.deliver([]byte(`{}`))
	var r report
	l.count(&r)
	want := report{Acknowledged: 2, Delivered: 1, Duplicates: 1, Unanswered: 1, Lost: 1}
	if r != want || l.strangers != 1 {
		t.Errorf("got %+v and %d strangers, want %+v and 1", r, l.strangers, want)
	}
}
