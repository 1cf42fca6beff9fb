package natsrig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// program is a real nats-server, built for these tests.
var program string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	dir, err := os.MkdirTemp("", "bellhop-natsrig-test-")
	if err == nil {
		defer os.RemoveAll(dir)
		program, err = Build(context.Background(), dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func start(t *testing.T, o Options) *Cluster {
	t.Helper()
	o.Program, o.Dir, o.Log = program, t.TempDir(), t.Output()
	c, err := Start(t.Context(), o)
	if errors.Is(err, ErrMount) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// connect pings often: a client of a frozen server learns of it by nothing else.
func connect(t *testing.T, url string) jetstream.JetStream {
	t.Helper()
	conn, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond),
		nats.PingInterval(200*time.Millisecond), nats.MaxPingsOutstanding(2))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// insist tries until it is done: what is asked of a server that is gone, or slow, may get no answer.
func insist(t *testing.T, do func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		try, cancelTry := context.WithTimeout(ctx, time.Second)
		err := do(try)
		cancelTry()
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

func publish(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	insist(t, func(ctx context.Context) error {
		_, err := js.Publish(ctx, "test.a", []byte("hello"))
		return err
	})
}

func createStream(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	insist(t, func(ctx context.Context) error {
		_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "TEST", Subjects: []string{"test.*"}, Replicas: 3})
		return err
	})
}

func leader(t *testing.T, c *Cluster) *Server {
	t.Helper()
	s, err := c.Leader(t.Context(), "TEST")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestClusterSurvivesItsLeader: another server leads when one is killed or frozen, and the one that comes
// back has all that was stored before and meanwhile.
func TestClusterSurvivesItsLeader(t *testing.T) {
	t.Parallel()
	c := start(t, Options{Servers: 3})
	p, err := NewProxy(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	js := connect(t, p.URL())
	createStream(t, js)
	publish(t, js)

	killed := leader(t, c)
	if err := killed.Kill(); err != nil {
		t.Fatal(err)
	}
	if s := leader(t, c); s == killed {
		t.Error("a dead server leads")
	}
	publish(t, js)
	if err := killed.Start(t.Context()); err != nil {
		t.Fatal(err)
	}

	frozen := leader(t, c)
	if err := frozen.Freeze(); err != nil {
		t.Fatal(err)
	}
	if s := leader(t, c); s == frozen {
		t.Error("a frozen server leads")
	}
	publish(t, js)
	if err := frozen.Thaw(); err != nil {
		t.Fatal(err)
	}

	// The one that was frozen may answer as the leader that it was, until it hears of the new one.
	insist(t, func(ctx context.Context) error {
		stream, err := js.Stream(ctx, "TEST")
		if err != nil {
			return err
		}
		// More than three are repetitions of what was stored without an answer.
		if n := stream.CachedInfo().State.Msgs; n < 3 {
			return fmt.Errorf("%d messages are left of 3", n)
		}
		return nil
	})
}

// TestDiskFills: JetStream of the server whose disk is full gives up, the others go on; with room again it
// comes back.
func TestDiskFills(t *testing.T) {
	t.Parallel()
	c := start(t, Options{Servers: 3, Disk: 32 << 20})
	js := connect(t, c.URL())
	createStream(t, js)
	full := leader(t, c)
	if err := full.FillDisk(); err != nil {
		t.Fatal(err)
	}
	for leader(t, c) == full {
		publish(t, js)
	}
	publish(t, js)
	if err := full.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := full.FreeDisk(); err != nil {
		t.Fatal(err)
	}
	if err := full.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestRetire: a lame duck that no client holds up ends at once, and comes back.
func TestRetire(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Servers: 3}).Servers[0]
	if err := s.Retire(); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestFillDiskNeedsOneOfItsOwn(t *testing.T) {
	t.Parallel()
	if err := (&Server{Name: "nats-0", dir: t.TempDir()}).FillDisk(); err == nil {
		t.Error("the disk that everything is on was filled")
	}
}
