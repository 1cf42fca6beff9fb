// Package natsrig starts nats-servers as child processes on the loopback interface, a JetStream cluster of
// file storage, and does to them what a bad day does: kill, freeze, fill the disk, cut the network (Proxy); and what an
// upgrade does (Retire).
//
// Everything it knows of the servers it reads from their monitoring endpoints, so that what is under test is
// the only client.
//
// https://docs.nats.io/running-a-nats-service/nats_admin/monitoring
package natsrig

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/bellhop-dev/bellhop/test/rig"
)

// Build compiles nats-server, of the version that go.mod asks for, into the directory and returns its path.
func Build(ctx context.Context, dir string) (string, error) {
	return rig.Build(ctx, "github.com/nats-io/nats-server/v2", "nats-server", dir)
}

// Options say what to start.
type Options struct {
	// Program is the binary; see Build.
	Program string
	// Dir holds a directory a server.
	Dir string
	// Servers is how many; 3 make a cluster that survives the loss of one.
	Servers int
	// Disk is the size in bytes of a file system of each server's own, for FillDisk; 0 for a directory on the
	// disk that Dir is on. It is a tmpfs, and mounting that needs root.
	Disk int64
	// Log gets standard output and error of all servers.
	Log io.Writer
}

// ErrMount is Start's error where Options.Disk is not permitted.
var ErrMount = errors.New("mounting a file system, which needs root")

// Cluster is servers that know each other.
type Cluster struct {
	Servers []*Server
}

// Server is one of a cluster. It keeps its addresses and its storage from start to start.
type Server struct {
	// Name is server_name, Address the host:port for clients.
	Name, Address string

	program, monitor, dir string
	mounted               bool
	log                   io.Writer
	process               *rig.Process
}

// Start returns once all servers are up and have elected a leader.
func Start(ctx context.Context, o Options) (_ *Cluster, err error) {
	c := &Cluster{}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Stop())
		}
	}()
	// For clients, monitoring and the routes between servers.
	addresses, err := rig.FreeAddresses(3 * o.Servers)
	if err != nil {
		return nil, err
	}
	routes := addresses[2*o.Servers:]
	for i, route := range routes {
		name := fmt.Sprintf("nats-%d", i)
		s := &Server{
			Name: name, Address: addresses[i],
			program: o.Program, monitor: addresses[o.Servers+i], dir: filepath.Join(o.Dir, name), log: o.Log,
		}
		c.Servers = append(c.Servers, s)
		if err := s.prepare(o.Disk, route, routes); err != nil {
			return nil, err
		}
		if err := s.launch(); err != nil {
			return nil, err
		}
	}
	// None is healthy before most are there.
	for _, s := range c.Servers {
		if err := s.awaitHealthy(ctx); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// configuration has no_advertise, or clients would learn the addresses behind a Proxy. The times of the lame duck are
// those of the NATS Helm chart.
//
// https://docs.nats.io/running-a-nats-service/configuration
const configuration = `server_name: %q
listen: %q
http: %q
lame_duck_grace_period: 10s
lame_duck_duration: 30s
jetstream { store_dir: %q }
cluster { name: bellhop, listen: %q, no_advertise: true, routes: [%s] }
`

func (s *Server) prepare(disk int64, route string, routes []string) error {
	storage := filepath.Join(s.dir, "storage")
	if err := os.MkdirAll(storage, 0o700); err != nil {
		return err
	}
	if disk > 0 {
		mount := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d,mode=0700", disk), "natsrig", storage)
		if output, err := mount.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: tmpfs for %s: %w: %s", ErrMount, s.Name, err, bytes.TrimSpace(output))
		}
		s.mounted = true
	}
	config := fmt.Sprintf(configuration, s.Name, s.Address, s.monitor, storage, route, `"nats://`+strings.Join(routes, `", "nats://`)+`"`)
	return os.WriteFile(s.config(), []byte(config), 0o600)
}

func (s *Server) config() string { return filepath.Join(s.dir, "nats-server.conf") }

func (s *Server) launch() (err error) {
	cmd := exec.Command(s.program, "-c", s.config())
	cmd.Stdout, cmd.Stderr = s.log, s.log
	s.process, err = rig.StartProcess(cmd)
	return err
}

// healthyTimeout bounds an election, and catching up with what was missed.
const healthyTimeout = time.Minute

// awaitHealthy returns once the server knows a leader and has caught up with its streams and consumers.
func (s *Server) awaitHealthy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healthyTimeout)
	defer cancel()
	return s.process.AwaitOK(ctx, "http://"+s.monitor+"/healthz")
}

// Start starts a server that was stopped or killed, and returns once it is healthy.
func (s *Server) Start(ctx context.Context) error {
	if err := s.launch(); err != nil {
		return err
	}
	return s.awaitHealthy(ctx)
}

// Kill sends SIGKILL and waits for the end.
func (s *Server) Kill() error { return s.process.Kill() }

// Stop ends the server in good order.
func (s *Server) Stop() error { return s.process.Stop() }

// Retire ends the server as a StatefulSet of the NATS Helm chart does: as a lame duck it gives up what it leads, goes on
// without JetStream while its clients have time to leave, and closes their connections one after the other.
//
// https://docs.nats.io/running-a-nats-service/nats_admin/lame_duck_mode
func (s *Server) Retire() error { return s.process.StopBy(syscall.SIGUSR2) }

// Freeze stops the server in its tracks: its connections stay open and are silent.
func (s *Server) Freeze() error { return s.process.Signal(syscall.SIGSTOP) }

// Thaw has a frozen server go on.
func (s *Server) Thaw() error { return s.process.Signal(syscall.SIGCONT) }

// Processor is the processor time that the server has used since it was last started.
func (s *Server) Processor() (time.Duration, error) { return s.process.Processor() }

func (s *Server) ballast() string { return filepath.Join(s.dir, "storage", "ballast") }

// FillDisk leaves no byte on the server's file system; see Options.Disk.
func (s *Server) FillDisk() error {
	if !s.mounted {
		return fmt.Errorf("filling the disk of %s: it has none of its own; set Options.Disk", s.Name)
	}
	f, err := os.OpenFile(s.ballast(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	block := make([]byte, 4<<10)
	for err == nil {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

// FreeDisk takes away what FillDisk put there.
func (s *Server) FreeDisk() error { return os.Remove(s.ballast()) }

// URL names all servers.
func (c *Cluster) URL() string {
	addresses := make([]string, len(c.Servers))
	for i, s := range c.Servers {
		addresses[i] = s.Address
	}
	return "nats://" + strings.Join(addresses, ",")
}

// Leader is the server that leads a stream, once there is one.
func (c *Cluster) Leader(ctx context.Context, stream string) (*Server, error) {
	ctx, cancel := context.WithTimeout(ctx, healthyTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, s := range c.Servers {
			if s.leads(ctx, stream) {
				return s, nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for stream %s to have a leader: %w", stream, ctx.Err())
		}
	}
}

// monitoring is a client of its own, for servers that are dead or frozen.
var monitoring = http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// leads tells whether the server holds itself for the leader. A server that does not answer leads nothing.
//
// https://docs.nats.io/running-a-nats-service/nats_admin/monitoring#jetstream-information
func (s *Server) leads(ctx context.Context, stream string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.monitor+"/jsz?streams=true", nil)
	if err != nil {
		return false
	}
	resp, err := monitoring.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	var info struct {
		Accounts []struct {
			Streams []struct {
				Name    string `json:"name"`
				Cluster struct {
					Leader string `json:"leader"`
				} `json:"cluster"`
			} `json:"stream_detail"`
		} `json:"account_details"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&info); err != nil {
		return false
	}
	for _, account := range info.Accounts {
		for _, detail := range account.Streams {
			if detail.Name == stream {
				return detail.Cluster.Leader == s.Name
			}
		}
	}
	return false
}

// Stop kills all servers and unmounts what was mounted. The directory is the caller's.
func (c *Cluster) Stop() error {
	var problems error
	for _, s := range c.Servers {
		if s.process != nil {
			problems = errors.Join(problems, s.process.Kill())
		}
		if s.mounted {
			if output, err := exec.Command("umount", filepath.Join(s.dir, "storage")).CombinedOutput(); err != nil {
				problems = errors.Join(problems, fmt.Errorf("unmounting the disk of %s: %w: %s", s.Name, err, output))
			}
		}
	}
	return problems
}
