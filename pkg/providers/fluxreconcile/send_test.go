package fluxreconcile_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/providers/fluxreconcile"
	"github.com/bellhop-dev/bellhop/pkg/route"
)

// gitRepositories are n GitRepositories r-000, r-001, … of the namespace.
func gitRepositories(t *testing.T, n int) *cluster {
	t.Helper()
	c := &cluster{}
	for i := range n {
		c.add(t, fmt.Appendf(nil, `{"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
			"metadata": {"name": "r-%03d", "namespace": %q}, "spec": {"url": "https://github.com/o/r"}}`, i, ownNamespace))
	}
	return c
}

// all selects all GitRepositories of the namespace, these the named ones.
var all = these("*")

func these(names ...string) fluxreconcile.Settings {
	var s fluxreconcile.Settings
	for _, n := range names {
		s.Objects = append(s.Objects, fluxreconcile.Selection{Kind: "GitRepository", Name: n})
	}
	return s
}

func newProvider(t *testing.T, c bellhop.Cluster, s fluxreconcile.Settings) bellhop.Provider {
	t.Helper()
	p, err := fluxreconcile.Kind.Build(bellhop.Setup{
		Name: "sources", Cluster: c, Expression: route.CompileExpression, Logger: slog.New(slog.DiscardHandler),
		Decode: func(into any) error {
			*into.(*fluxreconcile.Settings) = s
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func push(at time.Time) *bellhop.Event {
	return &bellhop.Event{
		ID: "01JCF3ZQ4V8XW1N5T9B2KMD7HG", Time: at, Kind: bellhop.KindGitPush, Branch: "main",
		Repo: bellhop.Repo{HTTPURL: "https://github.com/o/r"},
	}
}

var received = time.Date(2026, 11, 20, 17, 4, 12, 345, time.UTC)

// One object's trouble does not stop the others, and a retry reaches only what is left.
func TestOnlyWhatIsLeft(t *testing.T) {
	t.Parallel()
	c := gitRepositories(t, 20)
	var mu sync.Mutex
	tried := map[string]int{}
	broken := []string{"r-003", "r-011"}
	c.refuse = func(doing string, o bellhop.ObjectReference) error {
		mu.Lock()
		defer mu.Unlock()
		if doing != "annotate" {
			return nil
		}
		tried[o.Name]++
		if slices.Contains(broken, o.Name) {
			return errors.New("annotating: the webhook is out of reach")
		}
		return nil
	}
	p := newProvider(t, c, all)
	err := p.Send(t.Context(), push(received))
	const want = "requesting the reconciliation, 2 left: GitRepository bellhop/r-003: annotating: the webhook is out of reach; " +
		"GitRepository bellhop/r-011: annotating: the webhook is out of reach"
	if err == nil || err.Error() != want {
		t.Errorf("error:\n%v\nwant\n%s", err, want)
	}
	if n := len(c.done()); n != 18 {
		t.Errorf("%d annotated, want the 18 others", n)
	}
	mu.Lock()
	broken = nil
	mu.Unlock()
	for range 2 {
		if err := p.Send(t.Context(), push(received)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(c.done()); n != 20 {
		t.Errorf("%d annotations in all, want each of the 20 once", n)
	}
	for name, n := range tried {
		if want := 1 + strings.Count("r-003 r-011", name); n != want {
			t.Errorf("%s was tried %d times, want %d", name, n, want)
		}
	}
}

func TestOrderOfEvents(t *testing.T) {
	t.Parallel()
	c := gitRepositories(t, 1)
	p := newProvider(t, c, all)
	for _, at := range []time.Time{received, received.Add(time.Second), received, received.Add(-time.Hour), received.Add(2 * time.Second)} {
		if err := p.Send(t.Context(), push(at)); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"12.000000345Z", "13.000000345Z", "14.000000345Z"}
	done := c.done()
	for i, line := range done {
		if i >= len(want) || !strings.HasSuffix(line, "T17:04:"+want[i]) {
			t.Fatalf("annotated %q, want times that only grow", done)
		}
	}
	if len(done) != len(want) {
		t.Errorf("annotated %q, want %d of the five events", done, len(want))
	}
}

// What an error means to the notifier: all Permanent ones together are; a pause of any is.
func TestClasses(t *testing.T) {
	t.Parallel()
	plain := errors.New("the API is out of reach")
	permanent := bellhop.Permanent(errors.New("admission denied the request"))
	short := bellhop.RetryAfter(2*time.Second, errors.New("answered 429"))
	long := bellhop.RetryAfter(time.Minute, errors.New("answered 429"))
	for _, c := range []struct {
		name      string
		errs      []error
		permanent bool
		pause     time.Duration
	}{
		{"plain", []error{plain}, false, 0},
		{"permanent", []error{permanent, permanent}, true, 0},
		{"permanent and none", []error{permanent, nil}, true, 0},
		{"permanent and plain", []error{permanent, plain}, false, 0},
		{"plain and permanent", []error{plain, permanent}, false, 0},
		{"pauses", []error{short, long, short}, false, time.Minute},
		{"pause and permanent", []error{permanent, short, permanent}, false, 2 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			fake := gitRepositories(t, len(c.errs))
			fake.refuse = func(doing string, o bellhop.ObjectReference) error {
				if doing != "annotate" {
					return nil
				}
				var i int
				if _, err := fmt.Sscanf(o.Name, "r-%03d", &i); err != nil {
					return err
				}
				return c.errs[i]
			}
			err := newProvider(t, fake, all).Send(t.Context(), push(received))
			if err == nil || bellhop.IsPermanent(err) != c.permanent {
				t.Errorf("%v: permanent is %v, want %v", err, bellhop.IsPermanent(err), c.permanent)
			}
			if d, _ := bellhop.RetryDelay(err); d != c.pause {
				t.Errorf("%v: pause is %v, want %v", err, d, c.pause)
			}
		})
	}
}

func TestMissing(t *testing.T) {
	t.Parallel()
	c := gitRepositories(t, 2)
	p := newProvider(t, c, these("r-000", "gone", "r-001"))
	err := p.Send(t.Context(), push(received))
	const want = `requesting the reconciliation: GitRepository gone: reading: not found: GitRepository "gone"`
	if err == nil || err.Error() != want || bellhop.IsPermanent(err) {
		t.Errorf("error %v, want a plain one: %s", err, want)
	}
	if n := len(c.done()); n != 2 {
		t.Errorf("%d annotated, want both that are there", n)
	}
}

// An object that was listed and is gone when it is annotated has nothing to reconcile, but one that is named
// must be there.
func TestDeletedMeanwhile(t *testing.T) {
	t.Parallel()
	for _, s := range []fluxreconcile.Settings{all, these("r-000")} {
		c := gitRepositories(t, 1)
		c.refuse = func(doing string, _ bellhop.ObjectReference) error {
			if doing == "annotate" {
				return fmt.Errorf("annotating: %w", bellhop.ErrNotFound)
			}
			return nil
		}
		err := newProvider(t, c, s).Send(t.Context(), push(received))
		if named := s.Objects[0].Name != "*"; (err != nil) != named {
			t.Errorf("%s: %v", s.Objects[0].Name, err)
		}
	}
}

// An object that changes between being read and being annotated is read again.
func TestConflict(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name      string
		conflicts int    // before it succeeds
		meanwhile string // what another set in the meantime
		done      int
		fails     bool
	}{
		{"status changed", 2, "", 1, false},
		{"status keeps changing", 3, "", 0, true},
		{"later one requested", 1, "2026-11-20T17:04:13Z", 0, false},
		{"earlier one requested", 1, "2026-11-20T17:04:11Z", 1, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := gitRepositories(t, 1)
			conflicts := test.conflicts
			c.refuse = func(doing string, _ bellhop.ObjectReference) error {
				if doing == "annotate" && conflicts > 0 {
					conflicts--
					c.mu.Lock()
					defer c.mu.Unlock()
					c.objects[0] = annotated(c.objects[0], "reconcile.fluxcd.io/requestedAt", test.meanwhile)
				}
				return nil
			}
			err := newProvider(t, c, all).Send(t.Context(), push(received))
			if (err != nil) != test.fails || bellhop.IsPermanent(err) {
				t.Errorf("error %v, want one: %v", err, test.fails)
			}
			if n := len(c.done()); n != test.done || conflicts != 0 {
				t.Errorf("annotated %d times after %d conflicts too few, want %d", n, conflicts, test.done)
			}
		})
	}
}

// Events that arrive together leave the latest time, whichever is first.
func TestTogether(t *testing.T) {
	t.Parallel()
	c := gitRepositories(t, 3)
	p := newProvider(t, c, all)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			// A conflict that lasts is tried again, as the notifier does.
			for range 100 {
				if err := p.Send(t.Context(), push(received.Add(time.Duration(i)*time.Second))); err == nil {
					return
				}
			}
			t.Errorf("event %d never went through", i)
		})
	}
	wg.Wait()
	for _, o := range c.objects {
		text, err := json.Marshal(o.Content["metadata"])
		if err != nil || !strings.Contains(string(text), "2026-11-20T17:04:31.000000345Z") {
			t.Errorf("%s was left with %s (%v), want the latest time", o.Name, text, err)
		}
	}
}

func TestBoundedError(t *testing.T) {
	t.Parallel()
	c := gitRepositories(t, 300)
	c.refuse = func(doing string, _ bellhop.ObjectReference) error {
		if doing == "annotate" {
			return errors.New(strings.Repeat("é", 1000))
		}
		return nil
	}
	err := newProvider(t, c, all).Send(t.Context(), push(received))
	if err == nil || utf8.RuneCountInString(err.Error()) > 1000 || !utf8.ValidString(err.Error()) {
		t.Fatalf("no short line of text: %v", err)
	}
	for _, part := range []string{"300 left", "r-000: é", "r-002: é", "r-003; ", "r-005; ", "…"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error lacks %q: %v", part, err)
		}
	}
}

func TestStopping(t *testing.T) {
	t.Parallel()
	c := gitRepositories(t, 50)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var once sync.Once
	c.refuse = func(doing string, _ bellhop.ObjectReference) error {
		if doing == "annotate" {
			once.Do(cancel)
			return ctx.Err()
		}
		return nil
	}
	p := newProvider(t, c, all)
	if err := p.Send(ctx, push(received)); !bellhop.IsStopping(err) {
		t.Errorf("stopped while annotating: %v", err)
	}
	if err := p.Send(ctx, push(received)); !bellhop.IsStopping(err) {
		t.Errorf("stopped before listing: %v", err)
	}
	if n := len(c.done()); n != 0 {
		t.Errorf("%d annotated after the stop", n)
	}
}

// What is selected twice is annotated once.
func TestSelectedTwice(t *testing.T) {
	t.Parallel()
	c := gitRepositories(t, 2)
	var tried atomic.Int64
	c.refuse = func(doing string, _ bellhop.ObjectReference) error {
		if doing == "annotate" {
			tried.Add(1)
		}
		return nil
	}
	if err := newProvider(t, c, these("*", "r-000", "*")).Send(t.Context(), push(received)); err != nil {
		t.Fatal(err)
	}
	if n := tried.Load(); n != 2 {
		t.Errorf("annotated %d times, want each of the two once", n)
	}
}

// A few at a time: an event that concerns hundreds of objects waits for none, and swamps nobody.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := gitRepositories(t, 40)
		var busy atomic.Int64
		hold := make(chan struct{})
		c.refuse = func(doing string, _ bellhop.ObjectReference) error {
			if doing == "annotate" {
				busy.Add(1)
				<-hold
			}
			return nil
		}
		p := newProvider(t, c, all)
		done := make(chan error)
		go func() { done <- p.Send(t.Context(), push(received)) }()
		synctest.Wait()
		if n := busy.Load(); n != 8 {
			t.Errorf("%d at once, want 8", n)
		}
		close(hold)
		if err := <-done; err != nil || len(c.done()) != 40 {
			t.Errorf("%v; %d annotated, want 40", err, len(c.done()))
		}
	})
}
