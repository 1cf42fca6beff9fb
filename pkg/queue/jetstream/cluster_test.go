package jetstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/queuetest"
	"github.com/bellhop-dev/bellhop/pkg/queue/queuetest/natstest"
)

// serveCluster starts three servers that are one cluster, and returns the URL of all.
func serveCluster(t *testing.T) ([]*server.Server, string) {
	t.Helper()
	var routes []*url.URL
	var ports []int
	var free []net.Listener // all at a time, or two ports may be one
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		free = append(free, l)
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
		routes = append(routes, mustParse(t, "nats://"+l.Addr().String()))
	}
	for _, l := range free {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	servers := make([]*server.Server, 3)
	hosts := make([]string, 3)
	for i := range servers {
		servers[i] = natstest.Serve(t, func(o *server.Options) {
			o.ServerName, o.Routes = fmt.Sprint("n", i), routes
			o.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: ports[i]}
		})
		hosts[i] = strings.TrimPrefix(servers[i].ClientURL(), "nats://")
	}
	return servers, "nats://" + strings.Join(hosts, ",")
}

// TestLeadersChange: the leaders of the streams step down under load, time and again. Nothing is lost, and nothing comes
// twice.
func TestLeadersChange(t *testing.T) {
	t.Parallel()
	_, clusterURL := serveCluster(t)
	calm := standard
	calm.look, calm.start = 200*time.Millisecond, patience
	a, b := open(t, clusterURL, Options{timing: calm}), open(t, clusterURL, Options{timing: calm})
	for _, q := range []*Queue{a, b} {
		if err := q.Healthy(); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{a.names.events(), a.names.records()} {
		s, err := a.js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if n := s.CachedInfo().Config.Replicas; n != 3 {
			t.Errorf("%d servers keep stream %s, want 3", n, name)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	k := newTakers()
	k.start(ctx, "a", a, "p")
	k.start(ctx, "b", b, "p")

	const senders, each = 4, 25
	var mu sync.Mutex
	acknowledged := make(map[string]bool)
	var putting sync.WaitGroup
	for i := range senders {
		q := []*Queue{a, b}[i%2]
		putting.Go(func() {
			for range each {
				e := queuetest.NewEvent(strings.Repeat("x", 2000))
				p := &bellhop.Post{Key: e.ID, Window: time.Hour, Items: []bellhop.Item{{Event: e, To: []bellhop.Target{{Provider: "p"}}}}}
				receipt, err := q.Put(ctx, p)
				for errors.Is(err, bellhop.ErrUnavailable) && sleep(ctx, 100*time.Millisecond) {
					receipt, err = q.Put(ctx, p) // as senders do
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acknowledged[receipt.IDs[0]] = true
				mu.Unlock()
			}
		})
	}
	done := make(chan struct{})
	go func() { putting.Wait(); close(done) }()
	changes := 0
	for step := true; step; {
		for _, stream := range []string{a.names.events(), a.names.records()} {
			if _, err := a.nc.RequestWithContext(within(t), "$JS.API.STREAM.LEADER.STEPDOWN."+stream, nil); err == nil {
				changes++
			}
			if _, err := a.nc.RequestWithContext(within(t), "$JS.API.CONSUMER.LEADER.STEPDOWN."+a.names.events()+".p", nil); err == nil {
				changes++
			}
			select {
			case <-done:
				step = false
			case <-time.After(300 * time.Millisecond):
			}
		}
	}
	k.wait(t, senders*each)
	cancel()
	k.wg.Wait()
	for _, q := range []*Queue{a, b} {
		q.settling.wait(within(t))
	}
	for ctx := within(t); ; { // any server answers, also one that is behind
		s, err := b.Stats(ctx, "p")
		if err == nil && s.Depth == 0 {
			break
		}
		if !sleep(ctx, 50*time.Millisecond) {
			t.Fatalf("%+v, %v: what was delivered waits", s, err)
		}
	}
	seen := make(map[string]int)
	for _, id := range k.order {
		seen[id]++
	}
	lost, twice := 0, 0
	for id := range acknowledged {
		if seen[id] == 0 {
			lost++
		}
	}
	for _, n := range seen {
		twice += n - 1
	}
	t.Logf("%d changes of leaders, %d acknowledged, %d delivered, %d twice, %d lost, by %v", changes, len(acknowledged), len(seen), twice, lost, k.by)
	if lost > 0 || twice > 0 || len(acknowledged) != senders*each {
		t.Errorf("%d lost, %d twice, %d acknowledged", lost, twice, len(acknowledged))
	}
}

// TestBacklogAtLeaderChange: what is handed out long after it was stored stays with whoever has it when the leader of the
// consumer changes.
func TestBacklogAtLeaderChange(t *testing.T) {
	t.Parallel()
	_, clusterURL := serveCluster(t)
	calm := brisk
	calm.start = patience
	a, b := open(t, clusterURL, Options{timing: calm}), open(t, clusterURL, Options{timing: calm})
	var held []bellhop.Lease
	const backlog = 5
	for range backlog {
		put(t, a, "p")
	}
	<-time.After(calm.ackWait)
	for range backlog {
		held = append(held, take(t, a, "p"))
	}
	if _, err := a.nc.RequestWithContext(within(t), "$JS.API.CONSUMER.LEADER.STEPDOWN."+a.names.events()+".p", nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	k := newTakers()
	k.start(ctx, "a", a, "p")
	k.start(ctx, "b", b, "p")
	fresh := put(t, b, "p")
	k.wait(t, 1)
	for _, l := range held {
		if err := l.Settle(t.Context(), nil, bellhop.Outcome{}); err != nil {
			t.Error(err)
		}
	}
	c, err := b.js.Consumer(within(t), b.names.events(), consumer("p"))
	if err != nil {
		t.Fatal(err)
	}
	if n := c.CachedInfo().NumRedelivered; n > 0 {
		t.Errorf("%d of what is held were delivered again", n)
	}
	cancel()
	k.wg.Wait()
	if len(k.order) != 1 || k.order[0] != fresh {
		t.Errorf("%d were handed out again", len(k.order)-1)
	}
}
