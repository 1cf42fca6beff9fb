package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Process is a child process.
type Process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // of Wait; valid once exited is closed
}

// StartProcess starts a command, which Kill or Stop must end.
func StartProcess(cmd *exec.Cmd) (*Process, error) {
	p := &Process{cmd: cmd, exited: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// AwaitOK returns once a GET of the URL is answered with 200, or with an error when the process has ended.
func (p *Process) AwaitOK(ctx context.Context, url string) error {
	transport := &http.Transport{DisableKeepAlives: true}
	client := http.Client{Transport: transport, Timeout: 5 * time.Second}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("%s answers %s", req.URL.Path, resp.Status)
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%s ended before it was ready: %w", p.name(), p.err)
		default:
		}
		if !wait(ctx, 20*time.Millisecond) {
			return fmt.Errorf("waiting for %s to be ready: %w", p.name(), err)
		}
	}
}

func (p *Process) name() string { return filepath.Base(p.cmd.Path) }

// Signal sends a signal; it is no error if the process has ended.
func (p *Process) Signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("sending %v to %s: %w", s, p.name(), err)
	}
	return nil
}

// Kill sends SIGKILL and waits for the end. The process has no chance to tidy up.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.exited
	return nil
}

// Stop asks the process to end, waits for that, and kills it if it takes too long. An exit code other than 0
// is an error.
func (p *Process) Stop() error { return p.StopBy(syscall.SIGTERM) }

// StopBy is Stop with another signal.
func (p *Process) StopBy(s os.Signal) error {
	if err := p.Signal(s); err != nil {
		return err
	}
	timeout := time.NewTimer(time.Minute)
	defer timeout.Stop()
	select {
	case <-p.exited:
	case <-timeout.C:
		return errors.Join(fmt.Errorf("%s did not stop within a minute", p.name()), p.Kill())
	}
	if p.err != nil {
		return fmt.Errorf("stopping %s: %w", p.name(), p.err)
	}
	return nil
}

// Resident is the memory that the program holds now, in bytes. Linux only.
//
// https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
func (p *Process) Resident() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(status, []byte("\nVmRSS:"))
	fields := bytes.Fields(rest)
	if len(fields) < 2 || string(fields[1]) != "kB" {
		return 0, errors.New("no VmRSS in the process's status")
	}
	kilobytes, err := strconv.ParseInt(string(fields[0]), 10, 64)
	return kilobytes << 10, err
}

// Processor is the processor time that the program has used so far, user and system. Linux only.
//
// https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
func (p *Process) Processor() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	// The second field, the program's name in parentheses, may hold anything.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, errors.New("no utime and stime in the process's stat")
	}
	user, err := strconv.ParseInt(string(fields[11]), 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(string(fields[12]), 10, 64)
	const tick = time.Second / 100 // USER_HZ is 100 on every platform of Linux that Go knows
	return time.Duration(user+system) * tick, err
}
