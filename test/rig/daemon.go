package rig

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Daemon is `bellhop serve` as a child process, on loopback ports of its own.
type Daemon struct {
	// Receiver and Admin are host:port.
	Receiver, Admin string

	*Process
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
	free, err := FreeAddresses(2)
	if err != nil {
		return nil, err
	}
	d := &Daemon{Receiver: cmp.Or(o.Receiver, free[0]), Admin: cmp.Or(o.Admin, free[1])}
	queue, err := filepath.Abs(filepath.Join(o.Dir, "queue"))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(o.Program, "serve")
	cmd.Env = append(os.Environ(),
		"BELLHOP_CONFIG="+filepath.Join(o.Dir, "config"),
		"BELLHOP_SECRETS="+filepath.Join(o.Dir, "secrets"),
		"BELLHOP_QUEUE=file://"+queue,
		"BELLHOP_LISTEN="+d.Receiver,
		"BELLHOP_ADMIN_LISTEN="+d.Admin,
		"BELLHOP_LOG_LEVEL=warn",
	)
	cmd.Env = append(cmd.Env, o.Env...)
	cmd.Stdout, cmd.Stderr = o.Log, o.Log
	if d.Process, err = StartProcess(cmd); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := d.AwaitOK(ctx, "http://"+d.Admin+"/readyz"); err != nil {
		return nil, errors.Join(err, d.Kill())
	}
	return d, nil
}

// HookURL is where a key's endpoint is.
func (d *Daemon) HookURL(key []byte) string {
	return "http://" + d.Receiver + "/hook/" + Fingerprint(key)
}

// FreeAddress is a port of the loopback interface that nobody listens on now.
func FreeAddress() (string, error) {
	addresses, err := FreeAddresses(1)
	if err != nil {
		return "", err
	}
	return addresses[0], nil
}

// FreeAddresses are n of them. One after the other, the same could be found twice.
func FreeAddresses(n int) (addresses []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }() // nobody ever came
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}
