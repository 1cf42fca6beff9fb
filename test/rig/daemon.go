package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Daemon is `bellhop serve` as a child process, on loopback ports of its own.
type Daemon struct {
	// Receiver and Admin are host:port.
	Receiver, Admin string

	cmd    *exec.Cmd
	exited chan struct{}
	err    error // of Wait; valid once exited is closed
}

// DaemonOptions say what to start.
type DaemonOptions struct {
	// Program is the binary.
	Program string
	// Dir holds config/, secrets/ and queue/; Configuration.Write fills the first two.
	Dir string
	// Receiver and Admin are host:port; empty ones are chosen.
	Receiver, Admin string
	// Env are further variables.
	Env []string
	// Log gets standard output and error.
	Log io.Writer
}

// startTimeout bounds opening a large queue.
const startTimeout = 2 * time.Minute

// StartDaemon returns once the program is ready.
func StartDaemon(ctx context.Context, o DaemonOptions) (*Daemon, error) {
	d := &Daemon{Receiver: o.Receiver, Admin: o.Admin, exited: make(chan struct{})}
	for _, addr := range []*string{&d.Receiver, &d.Admin} {
		if *addr == "" {
			var err error
			if *addr, err = FreeAddress(); err != nil {
				return nil, err
			}
		}
	}
	queue, err := filepath.Abs(filepath.Join(o.Dir, "queue"))
	if err != nil {
		return nil, err
	}
	d.cmd = exec.Command(o.Program, "serve")
	d.cmd.Env = append(os.Environ(),
		"BELLHOP_CONFIG="+filepath.Join(o.Dir, "config"),
		"BELLHOP_SECRETS="+filepath.Join(o.Dir, "secrets"),
		"BELLHOP_QUEUE=file://"+queue,
		"BELLHOP_LISTEN="+d.Receiver,
		"BELLHOP_ADMIN_LISTEN="+d.Admin,
		"BELLHOP_LOG_LEVEL=warn",
	)
	d.cmd.Env = append(d.cmd.Env, o.Env...)
	d.cmd.Stdout, d.cmd.Stderr = o.Log, o.Log
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", o.Program, err)
	}
	go func() {
		d.err = d.cmd.Wait()
		close(d.exited)
	}()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := d.awaitReady(ctx); err != nil {
		return nil, errors.Join(err, d.Kill())
	}
	return d, nil
}

func (d *Daemon) awaitReady(ctx context.Context) error {
	transport := &http.Transport{DisableKeepAlives: true}
	client := http.Client{Transport: transport, Timeout: 5 * time.Second}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.Admin+"/readyz", nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("/readyz answers %s", resp.Status)
		}
		select {
		case <-d.exited:
			return fmt.Errorf("the program ended before it was ready: %w", d.err)
		default:
		}
		if !wait(ctx, 5*time.Millisecond) {
			return fmt.Errorf("waiting for the program to be ready: %w", err)
		}
	}
}

// HookURL is where a key's endpoint is.
func (d *Daemon) HookURL(key []byte) string {
	return "http://" + d.Receiver + "/hook/" + Fingerprint(key)
}

// Kill sends SIGKILL and waits for the end. The program has no chance to tidy up.
func (d *Daemon) Kill() error {
	if err := d.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("killing the program: %w", err)
	}
	<-d.exited
	return nil
}

// Stop asks the program to end, waits for that, and kills it if it takes too long. An exit code other than 0
// is an error.
func (d *Daemon) Stop() error {
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping the program: %w", err)
	}
	timeout := time.NewTimer(time.Minute)
	defer timeout.Stop()
	select {
	case <-d.exited:
	case <-timeout.C:
		return errors.Join(errors.New("the program did not stop within a minute"), d.Kill())
	}
	if d.err != nil {
		return fmt.Errorf("stopping the program: %w", d.err)
	}
	return nil
}

// Resident is the memory that the program holds now, in bytes. Linux only.
//
// https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
func (d *Daemon) Resident() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
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

// FreeAddress is a port of the loopback interface that nobody listens on now.
func FreeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
