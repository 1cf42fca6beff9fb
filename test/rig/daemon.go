package rig

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
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

// The ports of FreeAddresses. The kernel gives none of them to those who ask for any port, as whole test suites do beside
// this one: a port of its own choice may be somebody else's before the program listens there, or while it is down.
//
// https://docs.kernel.org/networking/ip-sysctl.html (ip_local_port_range)
const (
	lowestPort = 10_000
	ports      = 20_000
)

// Ports are tried in turn from a random one on, so that no process finds one twice, and hardly two the same.
var (
	firstTry = rand.Uint32N(ports)
	tries    atomic.Uint32
)

// FreeAddresses are n of them, found by no other call in this process.
func FreeAddresses(n int) (addresses []string, err error) {
	for range ports {
		if len(addresses) == n {
			return addresses, nil
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lowestPort+(firstTry+tries.Add(1))%ports))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return nil, err
		}
		addresses = append(addresses, l.Addr().String())
		_ = l.Close() // nobody ever came
	}
	return nil, errors.New("looking for a free port: none is left")
}
