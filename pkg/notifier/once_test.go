package notifier

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// recording is a provider that sends what it is told to fail for, and remembers the rest.
type recording struct {
	mu   sync.Mutex
	sent []string // ids
	fail map[string]error
	slow map[string]time.Duration
}

func (r *recording) Send(_ context.Context, e *bellhop.Event) error {
	time.Sleep(r.slow[e.ID])
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.fail[e.ID]; err != nil {
		delete(r.fail, e.ID)
		return err
	}
	r.sent = append(r.sent, e.ID)
	return nil
}

func (r *recording) got() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.sent, " ")
}

// stateful sets the event's reason for its branch.
type stateful struct{ *recording }

func (stateful) State(e *bellhop.Event) bellhop.State {
	return bellhop.State{Subject: e.Branch, Value: e.Reason, Time: e.Time}
}

// notes are the notes of what was settled, by event.
func (q *scripted) notes() map[string]string {
	notes := map[string]string{}
	for _, s := range q.history() {
		notes[strings.TrimSuffix(s.id, ".p")] = s.outcome.Note
	}
	return notes
}

func TestStates(t *testing.T) {
	t.Parallel()
	type step struct {
		id, subject, value string
		at                 int // seconds
		byHand             bool
		fails              error
	}
	for _, tc := range []struct {
		name  string
		steps []step
		sent  string
	}{
		{"changes only", []step{{"1", "s", "good", 1, false, nil}, {"2", "s", "good", 2, false, nil}, {"3", "s", "bad", 3, false, nil}, {"4", "s", "good", 4, false, nil}}, "1 3 4"},
		{"each subject by itself", []step{{"1", "s", "good", 1, false, nil}, {"2", "t", "good", 2, false, nil}}, "1 2"},
		{"older after newer", []step{{"2", "s", "good", 2, false, nil}, {"1", "s", "bad", 1, false, nil}}, "2"},
		{"older after newer that said the same as before", []step{{"1", "s", "good", 1, false, nil}, {"3", "s", "good", 3, false, nil}, {"2", "s", "bad", 2, false, nil}}, "1"},
		{"at one time the later event wins", []step{{"2", "s", "good", 1, false, nil}, {"1", "s", "bad", 1, false, nil}, {"3", "s", "bad", 1, false, nil}}, "2 3"},
		{"only what was delivered counts", []step{{"1", "s", "good", 1, false, bellhop.Permanent(errDown)}, {"2", "s", "good", 2, false, nil}}, "2"},
		{"by hand the same is sent again", []step{{"1", "s", "good", 1, false, nil}, {"2", "s", "good", 2, true, nil}}, "1 2"},
		{"by hand nothing old is", []step{{"2", "s", "good", 2, false, nil}, {"1", "s", "bad", 1, true, nil}}, "2"},
		{"without a subject all is sent", []step{{"1", "", "good", 1, false, nil}, {"2", "", "good", 1, false, nil}}, "1 2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				q, r := newScripted(), &recording{fail: map[string]error{}}
				p := provider("p", nil)
				p.Provider = stateful{r}
				n := start(q, Options{}, p)
				defer n.Stop(t.Context())
				began := time.Now()
				suppressed := 0
				for _, s := range tc.steps {
					if s.fails != nil {
						r.fail[s.id] = s.fails
					}
					q.addEvent("p", &bellhop.Event{ID: s.id, Branch: s.subject, Reason: s.value, Time: began.Add(time.Duration(s.at) * time.Second)}, s.byHand)
					time.Sleep(time.Hour)
				}
				for _, s := range tc.steps {
					note := q.notes()[s.id]
					if tried := s.fails != nil || slices.Contains(strings.Fields(r.got()), s.id); tried != (note == "") {
						t.Errorf("event %s: note %q", s.id, note)
					}
					if note != "" {
						suppressed++
					}
				}
				if r.got() != tc.sent {
					t.Errorf("sent %q, want %q", r.got(), tc.sent)
				}
				if got := testutil.ToFloat64(n.metrics.Deliveries.WithLabelValues("p", "fake", "suppressed")); int(got) != suppressed {
					t.Errorf("counted %v as suppressed, %d were", got, suppressed)
				}
			})
		})
	}
}

// What is not sent costs nothing of the rate: a thousand repeats are over at once.
func TestRepeatsAreNotRated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, r := newScripted(), &recording{}
		p := provider("p", nil)
		p.Provider, p.Rate = stateful{r}, bellhop.Rate{Events: 1, Per: time.Minute}
		n := start(q, Options{}, p)
		defer n.Stop(t.Context())
		began := time.Now()
		for i := range 1000 {
			q.addEvent("p", &bellhop.Event{ID: fmt.Sprintf("%04d", i), Branch: "s", Reason: "good", Time: began}, false)
		}
		synctest.Wait()
		if got := len(q.history()); got != 1000 || r.got() != "0000" {
			t.Errorf("%d settled, sent %q", got, r.got())
		}
		q.addEvent("p", &bellhop.Event{ID: "2000", Branch: "s", Reason: "bad", Time: began}, false)
		q.addEvent("p", &bellhop.Event{ID: "2001", Branch: "s", Reason: "good", Time: began}, false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if r.got() != "0000 2000" {
			t.Errorf("sent %q within a minute", r.got())
		}
		// What waits for its turn is handed back when stopping.
		n.Stop(t.Context())
		if got := q.history(); !bellhop.IsStopping(got[len(got)-1].err) {
			t.Errorf("stopped with %+v", got[len(got)-1])
		}
	})
}

// A newer state must not overtake an older one that is on its way, or the vendor would keep the older.
func TestOneStateAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, r := newScripted(), &recording{slow: map[string]time.Duration{"1": 5 * time.Second}}
		p := provider("p", nil)
		p.Provider = stateful{r}
		n := start(q, Options{}, p)
		defer n.Stop(t.Context())
		now := time.Now()
		q.addEvent("p", &bellhop.Event{ID: "1", Branch: "s", Reason: "bad", Time: now}, false)
		synctest.Wait()
		q.addEvent("p", &bellhop.Event{ID: "2", Branch: "s", Reason: "good", Time: now.Add(1)}, false)
		q.addEvent("p", &bellhop.Event{ID: "3", Branch: "other", Reason: "good", Time: now}, false)
		time.Sleep(time.Minute)
		if got := r.got(); got != "3 1 2" {
			t.Errorf("sent %q", got)
		}
	})
}

func TestDuplicatesOfFlux(t *testing.T) {
	t.Parallel()
	flux := func(id, severity, reason, message, revision string) *bellhop.Event {
		e := &bellhop.Event{ID: id, Kind: bellhop.KindFlux, Severity: bellhop.Severity(severity), Reason: reason, Message: message,
			InvolvedObject: bellhop.ObjectReference{APIVersion: "kustomize.toolkit.fluxcd.io/v1", Kind: "Kustomization", Namespace: "apps", Name: "podinfo"}}
		if revision != "" {
			e.Metadata = map[string]string{"kustomize.toolkit.fluxcd.io/revision": revision}
		}
		return e
	}
	other := flux("2", "error", "Failed", "x", "")
	other.InvolvedObject.Namespace = "default"
	push := &bellhop.Event{ID: "2", Kind: bellhop.KindGitPush, Message: "x"}
	for _, tc := range []struct {
		name   string
		events []*bellhop.Event
		every  time.Duration
		sent   string
	}{
		{"the same", []*bellhop.Event{flux("1", "error", "Failed", "x", ""), flux("2", "error", "Failed", "x", "")}, time.Second, "1"},
		{"after the window", []*bellhop.Event{flux("1", "error", "Failed", "x", ""), flux("2", "error", "Failed", "x", "")}, 6 * time.Minute, "1 2"},
		{"suppressing does not lengthen the window", []*bellhop.Event{flux("1", "error", "Failed", "x", ""), flux("2", "error", "Failed", "x", ""), flux("3", "error", "Failed", "x", "")}, 3 * time.Minute, "1 3"},
		{"in turns", []*bellhop.Event{flux("1", "error", "Failed", "x", ""), flux("2", "error", "Progressing", "y", ""), flux("3", "error", "Failed", "x", ""), flux("4", "error", "Progressing", "y", "")}, time.Second, "1 2"},
		{"good in between makes it news", []*bellhop.Event{flux("1", "error", "Failed", "x", ""), flux("2", "info", "Succeeded", "y", ""), flux("3", "error", "Failed", "x", "")}, time.Second, "1 2 3"},
		{"another revision", []*bellhop.Event{flux("1", "info", "Applied", "x", "main@sha1:a"), flux("2", "info", "Applied", "x", "main@sha1:b")}, time.Second, "1 2"},
		{"another reason", []*bellhop.Event{flux("1", "error", "Failed", "x", ""), flux("2", "error", "BuildFailed", "x", "")}, time.Second, "1 2"},
		{"another object", []*bellhop.Event{flux("1", "error", "Failed", "x", ""), other}, time.Second, "1 2"},
		{"volatile parts", []*bellhop.Event{
			flux("1", "error", "Failed", "after 1.5s at 2026-01-02T03:04:05.6Z: read tcp 10.0.0.1:41234->10.0.0.2:443: timeout, id 7d0c0000-1111-2222-3333-444455556666 0xc000", ""),
			flux("2", "error", "Failed", "after 2m3s at 2026-01-02T04:04:05Z: read tcp 10.0.0.1:51234->10.0.0.2:443: timeout, id 8d0c0000-1111-2222-3333-444455556666 0xc00f", "")}, time.Second, "1"},
		{"request ids", []*bellhop.Event{
			flux("1", "error", "Failed", "StatusCode: 403, RequestID: 7JMHQ5VZ3NKX2P9A, HostID: a", ""),
			flux("2", "error", "Failed", "StatusCode: 403, RequestID: B2Z5F0Q8R7N1M4TK, HostID: a", "")}, time.Second, "1"},
		{"what matters is not volatile", []*bellhop.Event{flux("1", "error", "Failed", "3 of 5 pods", ""), flux("2", "error", "Failed", "4 of 5 pods", "")}, time.Second, "1 2"},
		{"other kinds", []*bellhop.Event{{ID: "1", Kind: bellhop.KindGitPush, Message: "x"}, push}, time.Second, "1 2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				q, r := newScripted(), &recording{}
				n := start(q, Options{}, provider("p", r.Send))
				defer n.Stop(t.Context())
				for _, e := range tc.events {
					q.addEvent("p", e, false)
					time.Sleep(tc.every)
				}
				if r.got() != tc.sent {
					t.Errorf("sent %q, want %q; notes %v", r.got(), tc.sent, q.notes())
				}
			})
		})
	}
}

// A failed delivery suppresses nothing: the duplicate carries the news if the first one dies.
func TestOnlyDeliveredSuppresses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, r := newScripted(), &recording{fail: map[string]error{"1": bellhop.Permanent(errors.New("no such channel"))}}
		n := start(q, Options{}, provider("p", r.Send))
		defer n.Stop(t.Context())
		for i := range 3 {
			q.addEvent("p", &bellhop.Event{ID: fmt.Sprint(i + 1), Kind: bellhop.KindFlux, Reason: "Failed", InvolvedObject: bellhop.ObjectReference{Name: "podinfo"}}, false)
			synctest.Wait()
		}
		q.addEvent("p", &bellhop.Event{ID: "4", Kind: bellhop.KindFlux, Reason: "Failed", InvolvedObject: bellhop.ObjectReference{Name: "podinfo"}}, true)
		synctest.Wait()
		if r.got() != "2 4" {
			t.Errorf("sent %q", r.got())
		}
	})
}

func TestStoppingEndsTheWaitForASubject(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, r := newScripted(), &recording{slow: map[string]time.Duration{"1": time.Hour}}
		p := provider("p", nil)
		p.Provider = stateful{r}
		n := start(q, Options{Grace: time.Second}, p)
		for _, id := range []string{"1", "2"} {
			q.addEvent("p", &bellhop.Event{ID: id, Branch: "s", Reason: id}, false)
			synctest.Wait()
		}
		n.Stop(t.Context())
		if got := q.history(); len(got) != 2 || !bellhop.IsStopping(got[0].err) || got[0].id != "2.p" {
			t.Errorf("settled %+v", got)
		}
	})
}
