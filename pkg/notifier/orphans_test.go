package notifier

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/config"
)

// shared is a scripted queue that replicas share.
type shared struct {
	*scripted
	replicas []bellhop.Replica
	err      error
}

// newShared is a queue whose replicas serve the configurations with these hashes. The test's own snapshots are h.
func newShared(hashes ...string) *shared {
	q := &shared{scripted: newScripted()}
	q.serve(hashes...)
	return q
}

func (q *shared) serve(hashes ...string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.replicas, q.err = nil, nil
	for _, hash := range hashes {
		q.replicas = append(q.replicas, bellhop.Replica{ConfigHash: hash})
	}
}

func (q *shared) away() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.err = errors.New("no servers")
}

func (q *shared) Replicas(context.Context) ([]bellhop.Replica, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.replicas), q.err
}

func (q *shared) Providers(context.Context) ([]string, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var names []string
	for name := range q.waiting {
		names = append(names, name)
	}
	return names, nil
}

func (q *shared) Stats(_ context.Context, provider string) (bellhop.Stats, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return bellhop.Stats{Depth: int64(len(q.waiting[provider]))}, nil
}

// buried are the deliveries that were made dead, and those that were delivered.
func (q *shared) buried() (dead, delivered int) {
	for _, s := range q.history() {
		switch {
		case s.err == nil:
			delivered++
		case bellhop.IsPermanent(s.err):
			dead++
		}
	}
	return dead, delivered
}

const orphanGrace = 24 * time.Hour

func accept(context.Context, *bellhop.Event) error { return nil }

func TestOrphansThatAreKept(t *testing.T) {
	t.Parallel()
	suspended := provider("p", accept)
	suspended.Suspend = true
	for _, tc := range []struct {
		name     string
		replicas []string
		grace    time.Duration
		runs     *config.Provider
	}{
		{"not yet", []string{"h"}, 31 * 24 * time.Hour, provider("q", accept)},
		{"for good", []string{"h"}, 0, provider("q", accept)},
		{"suspended", []string{"h"}, orphanGrace, suspended},
		{"nobody is announced", nil, orphanGrace, provider("q", accept)},
		{"this replica is announced with another configuration", []string{"old"}, orphanGrace, provider("q", accept)},
		{"another replica lags", []string{"h", "old", "h"}, orphanGrace, provider("q", accept)},
		{"another replica has no configuration yet", []string{"h", ""}, orphanGrace, provider("q", accept)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				q := newShared(tc.replicas...)
				q.add("p", 3)
				n := start(q, Options{OrphanGrace: tc.grace}, tc.runs)
				defer n.Stop(t.Context())
				time.Sleep(30 * 24 * time.Hour)
				if h := q.history(); len(h) != 0 {
					t.Errorf("settled %v", h)
				}
			})
		})
	}
}

func TestOrphansAreBuriedAfterTheGraceTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newShared("h", "h")
		q.add("p", 1000)
		q.waiting["p"][7].Due = time.Now().Add(orphanGrace + time.Hour) // it was tried before, and waits for its next try
		n := start(q, Options{OrphanGrace: orphanGrace}, provider("q", accept))
		defer n.Stop(t.Context())

		time.Sleep(orphanGrace)
		if dead, _ := q.buried(); dead != 0 {
			t.Fatalf("%d are dead within the grace time", dead)
		}
		time.Sleep(10 * time.Minute)
		if dead, _ := q.buried(); dead != 999 {
			t.Fatalf("%d are dead, want all that are due", dead)
		}
		if reason := q.history()[0].err.Error(); !strings.Contains(reason, "dead retry --provider p") || !strings.Contains(reason, "in no configuration") {
			t.Errorf("the reason is %q", reason)
		}
		time.Sleep(time.Hour)
		if dead, _ := q.buried(); dead != 1000 {
			t.Errorf("%d are dead, want all", dead)
		}
	})
}

// TestOrphansWaitUntilTheReplicasAgree: nothing is even taken while they do not.
func TestOrphansWaitUntilTheReplicasAgree(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newShared("h", "old")
		q.add("p", 3)
		n := start(q, Options{OrphanGrace: orphanGrace}, provider("q", accept))
		defer n.Stop(t.Context())
		time.Sleep(2 * orphanGrace)
		q.away()
		time.Sleep(orphanGrace)
		if h := q.history(); len(h) != 0 {
			t.Fatalf("settled %v", h)
		}
		q.serve("h", "h")
		time.Sleep(10 * time.Minute)
		if dead, _ := q.buried(); dead != 3 {
			t.Errorf("%d are dead, want all", dead)
		}
	})
}

func TestOrphanComesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newShared("h")
		q.add("p", 3)
		n := start(q, Options{OrphanGrace: orphanGrace}, provider("q", accept))
		defer n.Stop(t.Context())
		time.Sleep(orphanGrace - time.Minute)
		n.Apply(snapshot(provider("p", accept)))
		synctest.Wait()
		if dead, delivered := q.buried(); dead != 0 || delivered != 3 {
			t.Fatalf("%d dead, %d delivered", dead, delivered)
		}
		// Gone again, it has the whole grace time anew.
		n.Apply(snapshot(provider("q", accept)))
		q.add("p", 3)
		time.Sleep(orphanGrace)
		if dead, _ := q.buried(); dead != 0 {
			t.Fatalf("%d are dead within the grace time", dead)
		}
	})
}

// TestOrphanComesBackWhileItIsBuried: here, and on another replica.
func TestOrphanComesBackWhileItIsBuried(t *testing.T) {
	t.Parallel()
	for name, back := range map[string]func(q *shared, n *Notifier){
		"here":      func(_ *shared, n *Notifier) { n.Apply(snapshot(provider("p", accept))) },
		"elsewhere": func(q *shared, _ *Notifier) { q.serve("h", "new") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				q := &halting{shared: newShared("h"), at: make(chan struct{})}
				q.add("p", 3)
				n := start(q, Options{OrphanGrace: orphanGrace}, provider("q", accept))
				defer n.Stop(t.Context())
				time.Sleep(orphanGrace + 10*time.Minute) // the burial has taken the first one
				back(q.shared, n)
				close(q.at)
				synctest.Wait()
				if dead, _ := q.buried(); dead != 0 {
					t.Errorf("%d are dead", dead)
				}
				if h := q.history(); !slices.ContainsFunc(h, func(s settled) bool { return bellhop.IsStopping(s.err) }) {
					t.Errorf("what was taken was not handed back: %v", h)
				}
			})
		})
	}
}

// halting holds the first delivery between being found and being handed out, until at is closed.
type halting struct {
	*shared
	at chan struct{}
}

func (q *halting) Take(ctx context.Context, provider string) (bellhop.Lease, error) {
	lease, err := q.shared.Take(ctx, provider)
	if err == nil {
		<-q.at
	}
	return lease, err
}
