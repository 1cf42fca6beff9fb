package rig

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// startShell returns once the script has written a line. Whatever becomes of it, it is killed in the end.
func startShell(t *testing.T, script string) *Process {
	t.Helper()
	cmd := exec.Command("sh", "-c", script)
	input, err := cmd.StdinPipe() // open until the test ends, for scripts that read
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan struct{}, 1)
	cmd.Stdout = writerFunc(func(b []byte) (int, error) {
		lines <- struct{}{}
		return len(b), nil
	})
	p, err := StartProcess(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		input.Close()
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
	})
	select {
	case <-lines:
	case <-time.After(time.Minute):
		t.Fatal("the script wrote nothing for a minute")
	}
	return p
}

type writerFunc func(b []byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestProcessEnds(t *testing.T) {
	t.Parallel()
	if err := startShell(t, `trap 'exit 0' TERM; echo ready; while :; do read x; done`).Stop(); err != nil {
		t.Errorf("a good end: %v", err)
	}
	p := startShell(t, `trap 'exit 3' TERM; echo ready; while :; do read x; done`)
	if err := p.Stop(); err == nil || !strings.Contains(err.Error(), "stopping sh: exit status 3") {
		t.Errorf("a bad end: %v", err)
	}
	if err := p.AwaitOK(t.Context(), "http://127.0.0.1:1/"); err == nil || !strings.Contains(err.Error(), "ended before it was ready") {
		t.Errorf("waiting for a process that has ended: %v", err)
	}
	if err := p.Kill(); err != nil {
		t.Errorf("killing what has ended: %v", err)
	}
}

func TestProcessIsAwaitedNoLongerThanAsked(t *testing.T) {
	t.Parallel()
	p := startShell(t, `echo up; read x`)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.AwaitOK(ctx, "http://127.0.0.1:1/"); err == nil || !strings.Contains(err.Error(), "waiting for sh to be ready") {
		t.Errorf("error: %v", err)
	}
}

func TestProcessUsage(t *testing.T) {
	t.Parallel()
	idle := startShell(t, `echo up; read x`)
	busy := startShell(t, `i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo up; read x`)
	little, err := idle.Processor()
	if err != nil {
		t.Fatal(err)
	}
	much, err := busy.Processor()
	if err != nil || much <= little || much > time.Minute {
		t.Errorf("idle used %v of the processor, busy %v, %v", little, much, err)
	}
	if resident, err := idle.Resident(); err != nil || resident < 64<<10 || resident > 1<<30 {
		t.Errorf("a shell holds %d bytes, %v", resident, err)
	}
}
