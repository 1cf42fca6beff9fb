package main

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/test/rig"
)

// program is the real one, built for this test.
var program string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	dir, err := os.MkdirTemp("", "bellhop-crash-test-")
	if err == nil {
		defer os.RemoveAll(dir)
		program, err = rig.Build(context.Background(), "../../cmd/bellhop", "bellhop", dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// TestNothingIsLost is a short run of what `make crash` does at length.
func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	if err := rig.LookAt("../../cmd", "../../pkg"); err != nil {
		t.Fatal(err)
	}
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

func TestVerdict(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		r    report
		ok   bool
	}{
		{"lost", report{Tally: rig.Tally{Acknowledged: 2, Delivered: 1, Lost: 1}, Broken: 1}, false},
		{"no load", report{}, false},
		{"no crash under load", report{Tally: rig.Tally{Acknowledged: 1, Delivered: 1}}, false},
		{"duplicates are allowed", report{Tally: rig.Tally{Acknowledged: 1, Delivered: 1, Duplicates: 3}, Broken: 1}, true},
	} {
		if err := tc.r.verdict(); (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}
