package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/queuetest"
	"github.com/bellhop-dev/bellhop/pkg/queue/queuetest/natstest"
)

// nats starts a server in this process and returns its URL.
func nats(t *testing.T) string {
	t.Helper()
	return natstest.Serve(t).ClientURL()
}

func directory(t *testing.T) string {
	t.Helper()
	return "file://" + t.TempDir()
}

func opened(t *testing.T, url string) bellhop.Queue {
	t.Helper()
	q, err := Open(t.Context(), url, Options{Preserve: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	})
	return q
}

// fill puts n events into a queue, of which each third waits, is dead, is delivered. Each has its number as a key.
func fill(t *testing.T, q bellhop.Queue, n int) {
	t.Helper()
	for i := range n {
		e := queuetest.NewEvent(fmt.Sprint(i))
		to := []bellhop.Target{{Provider: [...]string{"waiting", "dead", "done"}[i%3], Route: "r"}}
		if _, err := q.Put(t.Context(), &bellhop.Post{Key: fmt.Sprint(i), Window: time.Hour, Items: []bellhop.Item{{Event: e, To: to}}}); err != nil {
			t.Fatal(err)
		}
	}
	settle := func(provider string, verdict error, o bellhop.Outcome) {
		for range n / 3 {
			lease, err := q.Take(t.Context(), provider)
			if err != nil {
				t.Fatal(err)
			}
			if err := lease.Settle(t.Context(), verdict, o); err != nil {
				t.Fatal(err)
			}
		}
	}
	settle("dead", bellhop.Permanent(errors.New("no such channel")), bellhop.Outcome{})
	settle("done", nil, bellhop.Outcome{Memo: &bellhop.Memo{Key: "key", Value: "value", Expires: time.Now().Add(time.Hour)}})
	if err := q.Pause(t.Context(), "waiting", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
}

// all are the parts of a queue, the keys, whose order among each other means nothing, in that of their names at the end.
func all(t *testing.T, q bellhop.Queue) (parts []*bellhop.Stored) {
	t.Helper()
	for s, err := range q.Export(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, s)
	}
	name := func(s *bellhop.Stored) string {
		if s.Key == nil {
			return ""
		}
		return s.Key.Key
	}
	slices.SortStableFunc(parts, func(a, b *bellhop.Stored) int { return strings.Compare(name(a), name(b)) })
	return parts
}

// repeats wants what fill put into a queue to be recognised when it comes again.
func repeats(t *testing.T, q bellhop.Queue, n int) {
	t.Helper()
	for _, i := range []int{0, n / 2, n - 1} {
		e := queuetest.NewEvent("again")
		r, err := q.Put(t.Context(), &bellhop.Post{Key: fmt.Sprint(i), Window: time.Hour, Items: []bellhop.Item{{Event: e}}})
		if err != nil {
			t.Fatal(err)
		}
		if !r.Duplicate || len(r.IDs) != 1 {
			t.Fatalf("%+v of what came again, want a duplicate", r)
		}
		if first, err := q.Event(t.Context(), r.IDs[0]); err != nil || string(first.Raw) != fmt.Sprint(i) {
			t.Errorf("a duplicate of %+v, %v, want event %d", first, err, i)
		}
	}
	if r, err := q.Put(t.Context(), &bellhop.Post{Key: fmt.Sprint(n), Window: time.Hour, Items: []bellhop.Item{{Event: queuetest.NewEvent("")}}}); err != nil || r.Duplicate {
		t.Errorf("%+v, %v of what comes first", r, err)
	}
}

// TestMove moves between all kinds of queues.
func TestMove(t *testing.T) {
	t.Parallel()
	kinds := map[string]func(t *testing.T) string{"file": directory, "nats": nats}
	for from, source := range kinds {
		for to, target := range kinds {
			t.Run(from+" to "+to, func(t *testing.T) {
				t.Parallel()
				const n = 2*moveParts + 3
				source, target := opened(t, source(t)), opened(t, target(t))
				fill(t, source, n/3*3)
				counts, err := Move(t.Context(), source, target)
				if err != nil {
					t.Fatal(err)
				}
				if counts.Events != n/3*3 || counts.Deliveries["waiting"][bellhop.Waiting] != n/3 ||
					counts.Deliveries["dead"][bellhop.Dead] != n/3 || counts.Deliveries["done"][bellhop.Delivered] != n/3 {
					t.Errorf("counts %+v", counts)
				}
				if diff := cmp.Diff(all(t, source), all(t, target), cmp.Comparer(bytes.Equal)); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
				repeats(t, target, counts.Events)
			})
		}
	}
}

// interrupted breaks off after so many events.
type interrupted struct {
	bellhop.Queue
	after int
}

func (q interrupted) Export(ctx context.Context) iter.Seq2[*bellhop.Stored, error] {
	return func(yield func(*bellhop.Stored, error) bool) {
		n := 0
		for s, err := range q.Queue.Export(ctx) {
			if n++; n > q.after {
				yield(nil, errors.New("the power went"))
				return
			}
			if !yield(s, err) {
				return
			}
		}
	}
}

func TestMoveGoesOn(t *testing.T) {
	t.Parallel()
	for name, target := range map[string]func(t *testing.T) string{"file": directory, "nats": nats} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source, target := opened(t, directory(t)), opened(t, target(t))
			const n = 3 * moveParts
			fill(t, source, n)
			for _, after := range []int{1, moveParts - 1, moveParts + 5, 2*moveParts + 1} {
				_, err := Move(t.Context(), interrupted{source, after}, target)
				if err == nil || !strings.Contains(err.Error(), "the power went") || !strings.Contains(err.Error(), "move again") {
					t.Fatalf("interrupted after %d: %v", after, err)
				}
			}
			counts, err := Move(t.Context(), source, target)
			if err != nil || counts.Events != n {
				t.Fatalf("%v %+v", err, counts)
			}
			if diff := cmp.Diff(all(t, source), all(t, target), cmp.Comparer(bytes.Equal)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// lossy takes in what is left of each part, nil for nothing.
type lossy struct {
	bellhop.Queue
	left func(*bellhop.Stored) *bellhop.Stored
}

func (q lossy) Import(ctx context.Context, parts ...*bellhop.Stored) error {
	var kept []*bellhop.Stored
	for _, s := range parts {
		if s = q.left(s); s != nil {
			kept = append(kept, s)
		}
	}
	return q.Queue.Import(ctx, kept...)
}

func isDead(s *bellhop.Stored) bool { return s.Event != nil && s.Deliveries[0].Provider == "dead" }

func TestMoveRefuses(t *testing.T) {
	t.Parallel()
	server := nats(t)
	announced := func(t *testing.T, q bellhop.Queue) {
		t.Helper()
		if err := q.Announce(t.Context(), bellhop.Replica{Name: "pod-a/1"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name    string
		prepare func(t *testing.T, from, to bellhop.Queue) (bellhop.Queue, bellhop.Queue)
		want    string
	}{
		{"nothing to move", func(_ *testing.T, _, to bellhop.Queue) (bellhop.Queue, bellhop.Queue) {
			return opened(t, directory(t)), to
		}, "holds nothing"},
		{"the source serves", func(t *testing.T, from, to bellhop.Queue) (bellhop.Queue, bellhop.Queue) {
			announced(t, from)
			return from, to
		}, "moving from a queue: pod-a/1 serves from it"},
		{"the target serves", func(t *testing.T, from, to bellhop.Queue) (bellhop.Queue, bellhop.Queue) {
			announced(t, to)
			return from, to
		}, "moving to a queue: pod-a/1 serves from it"},
		{"the target has events", func(t *testing.T, from, to bellhop.Queue) (bellhop.Queue, bellhop.Queue) {
			fill(t, to, 3)
			return from, to
		}, "events of"},
		{"the target has served since", func(t *testing.T, from, to bellhop.Queue) (bellhop.Queue, bellhop.Queue) {
			if _, err := Move(t.Context(), from, to); err != nil {
				t.Fatal(err)
			}
			repeats(t, to, 6) // and one that comes first
			return from, to
		}, "has served since"},
		{"events are lost", func(_ *testing.T, from, to bellhop.Queue) (bellhop.Queue, bellhop.Queue) {
			return from, lossy{to, func(s *bellhop.Stored) *bellhop.Stored {
				if isDead(s) {
					return nil
				}
				return s
			}}
		}, "of 6 events that were moved, 4 are there"},
		{"deliveries are lost", func(_ *testing.T, from, to bellhop.Queue) (bellhop.Queue, bellhop.Queue) {
			return from, lossy{to, func(s *bellhop.Stored) *bellhop.Stored {
				if isDead(s) {
					return &bellhop.Stored{Event: s.Event}
				}
				return s
			}}
		}, "deliveries that were moved: map[dead:map[dead:2]"},
		{"keys are lost", func(_ *testing.T, from, to bellhop.Queue) (bellhop.Queue, bellhop.Queue) {
			return from, lossy{to, func(s *bellhop.Stored) *bellhop.Stored {
				if s.Key != nil && s.Key.Key == "1" {
					return nil
				}
				return s
			}}
		}, "of 6 duplicate keys that were moved, 5 are there"},
		{"keys are forgotten too early", func(_ *testing.T, from, to bellhop.Queue) (bellhop.Queue, bellhop.Queue) {
			return from, lossy{to, func(s *bellhop.Stored) *bellhop.Stored {
				if s.Key != nil {
					return &bellhop.Stored{Key: &bellhop.DuplicateKey{Key: s.Key.Key, IDs: s.Key.IDs, Expires: s.Key.Expires.Add(-2 * time.Minute)}}
				}
				return s
			}}
		}, "or not for as long"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			from := opened(t, directory(t))
			fill(t, from, 6)
			prefix := strings.ReplaceAll(tc.name, " ", "-")
			from, to := tc.prepare(t, from, opened(t, server+"?prefix="+prefix))
			if _, err := Move(t.Context(), from, to); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}
