package jetstream

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/queuetest"
	"github.com/bellhop-dev/bellhop/pkg/queue/queuetest/natstest"
)

// becomes waits until the queue is healthy, or not.
func becomes(t *testing.T, q *Queue, healthy bool) error {
	t.Helper()
	ctx := within(t)
	for {
		err := q.Healthy()
		if (err == nil) == healthy {
			return err
		}
		if !sleep(ctx, brisk.look/4) {
			t.Fatalf("healthy: %v, want %t", err, healthy)
		}
	}
}

func tryPut(q *Queue) error {
	_, err := q.Put(context.Background(), &bellhop.Post{Items: []bellhop.Item{{Event: queuetest.NewEvent("x"), To: []bellhop.Target{{Provider: "p"}}}}})
	return err
}

// TestServerAwayAndBack opens the queue before there is a server, and restarts the server under it.
func TestServerAwayAndBack(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	away := brisk
	away.start = 100 * time.Millisecond
	q := open(t, "nats://"+l.Addr().String(), Options{timing: away})
	if err := q.Healthy(); err == nil || !strings.Contains(err.Error(), "not connected to NATS") {
		t.Fatalf("healthy without a server: %v", err)
	}
	if err := tryPut(q); !errors.Is(err, bellhop.ErrUnavailable) {
		t.Fatalf("Put: %v, want ErrUnavailable", err)
	}
	if _, err := q.Stats(t.Context(), "p"); !errors.Is(err, bellhop.ErrUnavailable) {
		t.Fatalf("Stats: %v, want ErrUnavailable", err)
	}
	taken := make(chan bellhop.Lease, 1)
	go func() {
		if l, err := q.Take(context.Background(), "p"); err == nil {
			taken <- l
		}
	}()
	dir := t.TempDir()
	here := func(o *server.Options) { o.Port, o.StoreDir = port, dir }
	s := natstest.Serve(t, here)
	_ = becomes(t, q, true)
	if err := tryPut(q); err != nil {
		t.Fatal(err)
	}
	lease := <-taken

	s.Shutdown()
	s.WaitForShutdown()
	_ = becomes(t, q, false)
	if err := tryPut(q); !errors.Is(err, bellhop.ErrUnavailable) {
		t.Fatalf("Put: %v, want ErrUnavailable", err)
	}
	// What was delivered meanwhile is recorded when the server is back.
	if err := lease.Settle(t.Context(), nil, bellhop.Outcome{}); err != nil {
		t.Fatal(err)
	}
	natstest.Serve(t, here)
	_ = becomes(t, q, true)
	q.settling.wait(within(t))
	ds, _, err := q.Deliveries(within(t), bellhop.DeliveryFilter{}, bellhop.Page{Limit: 10})
	if err != nil || len(ds) != 1 || ds[0].State != bellhop.Delivered {
		t.Fatalf("%+v, %v", ds, err)
	}
	if err := tryPut(q); err != nil {
		t.Fatal(err)
	}
	take(t, q, "p")
	// What others say is heard again, too.
	other := open(t, "nats://"+l.Addr().String(), Options{})
	if err := other.Pause(t.Context(), "p", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	for ctx := within(t); q.pauses.get("p").until == 0; {
		if !sleep(ctx, brisk.look/4) {
			t.Fatal("a pause was not heard of")
		}
	}
	if err := q.Close(); err != nil { // its server ends before it would be closed by itself
		t.Fatal(err)
	}
}

func TestFull(t *testing.T) {
	t.Parallel()
	q := open(t, natstest.Serve(t).ClientURL()+"?maxBytes=2MiB", Options{})
	var err error
	for i := 0; err == nil; i++ {
		if i > 100 {
			t.Fatal("more than fits was taken")
		}
		_, err = q.Put(t.Context(), &bellhop.Post{Items: []bellhop.Item{{Event: queuetest.NewEvent(queuetest.Noise(100 << 10))}}})
	}
	if !errors.Is(err, bellhop.ErrUnavailable) {
		t.Fatalf("Put: %v, want ErrUnavailable", err)
	}
	if err := becomes(t, q, false); !strings.Contains(err.Error(), "is full") {
		t.Fatalf("unhealthy for another reason: %v", err)
	}
	q.o.RetentionAge = time.Nanosecond
	if err := q.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = becomes(t, q, true)
	if err := tryPut(q); err != nil {
		t.Fatal(err)
	}
}

// TestWrongSettings changes what the streams must be, one at a time: the error says how to mend it.
func TestWrongSettings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		stream string
		change func(*jetstream.StreamConfig)
		want   string
	}{
		"age":     {"BELLHOP_EVENTS", func(c *jetstream.StreamConfig) { c.MaxAge = 48 * time.Hour }, "nats stream edit BELLHOP_EVENTS --max-age=-1"},
		"discard": {"BELLHOP_EVENTS", func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld }, "nats stream edit BELLHOP_EVENTS --discard=new"},
		"direct":  {"BELLHOP_RECORDS", func(c *jetstream.StreamConfig) { c.AllowDirect = false }, "nats stream edit BELLHOP_RECORDS --allow-direct"},
		"subjects": {"BELLHOP_EVENTS", func(c *jetstream.StreamConfig) { c.Subjects = c.Subjects[:1] },
			"nats stream edit BELLHOP_EVENTS --subjects=bellhop.to.*.*.*,bellhop.chunk.*.*"},
		"subject": {"BELLHOP_RECORDS", func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 9 }, "nats stream edit BELLHOP_RECORDS --max-msgs-per-subject=1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := natstest.Serve(t).ClientURL()
			q := open(t, url, Options{})
			s, err := q.js.Stream(t.Context(), c.stream)
			if err != nil {
				t.Fatal(err)
			}
			config := s.CachedInfo().Config
			c.change(&config)
			if _, err := q.js.UpdateStream(t.Context(), config); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(t.Context(), mustParse(t, url), Options{timing: brisk}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestGrows(t *testing.T) {
	t.Parallel()
	url := natstest.Serve(t).ClientURL()
	open(t, url+"?maxBytes=10MiB&duplicates=1h", Options{})
	q := open(t, url+"?maxBytes=20MiB&duplicates=2h", Options{})
	s, err := q.js.Stream(t.Context(), q.names.events())
	if err != nil {
		t.Fatal(err)
	}
	if c := s.CachedInfo().Config; c.MaxBytes != 20<<20 || c.Duplicates != 2*time.Hour {
		t.Fatalf("%d bytes, %v", c.MaxBytes, c.Duplicates)
	}
	if _, err := Open(t.Context(), mustParse(t, url+"?maxBytes=5MiB"), Options{timing: brisk}); err == nil ||
		!strings.Contains(err.Error(), "nats stream edit BELLHOP_EVENTS --max-bytes=5242880") {
		t.Fatalf("a stream became smaller by itself: %v", err)
	}
}

func TestPrefixesAreApart(t *testing.T) {
	t.Parallel()
	url := natstest.Serve(t).ClientURL()
	a, b := open(t, url+"?prefix=a", Options{}), open(t, url+"?prefix=b", Options{})
	put(t, a, "p")
	if s, err := b.Stats(t.Context(), "p"); err != nil || s.Depth != 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	if a.ID() == b.ID() {
		t.Fatal("two stores have one id")
	}
}

func TestAtLeast(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{
		"2.10.27": false, "2.11.0": true, "2.15.2": true, "2.11.0-RC.1": true, "3.0.0": true, "1.99.99": false, "": false, "new": false,
	} {
		if atLeast(version, needed) != want {
			t.Errorf("version %q: %t", version, !want)
		}
	}
}
