package bellhoptest

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Answer is one of a vendor's answers, and what it means: a false success, a limit, a refusal that somebody can do
// something about.
type Answer struct {
	// Case names the case whose request is answered; the first that asks something if empty.
	Case   string
	Status int
	Header map[string]string
	Body   string
	// Want is accepted, paused, retried or permanent.
	Want string
	// Pause is how long a pause lasts; zero if that does not matter.
	Pause time.Duration
	// Says is a part of the error: the vendor's reason, or what to do about it.
	Says string
}

// answer sends the case's event to a vendor that gives the answer.
func (s *providerSuite) answer(t *testing.T, c *providerCase, a Answer) {
	t.Helper()
	header := http.Header{}
	for name, value := range a.Header {
		header.Set(name, value)
	}
	rec := &recorder{answer: func(asked) *http.Response { return answered(a.Status, header, a.Body) }}
	err := s.usable(t, c, rec.client(t)).Send(t.Context(), c.event)
	if got := class(err); got != a.Want {
		t.Fatalf("%d %v %s: %s (%v), want %s", a.Status, a.Header, a.Body, got, err, a.Want)
	}
	if d, _ := bellhop.RetryDelay(err); a.Pause != 0 && d.Round(time.Millisecond) != a.Pause {
		t.Errorf("%d %v %s: pauses for %v, want %v", a.Status, a.Header, a.Body, d, a.Pause)
	}
	if err != nil {
		if !strings.Contains(err.Error(), a.Says) {
			t.Errorf("%d %s: %q does not say %q", a.Status, a.Body, err, a.Says)
		}
		c.hides(t, err)
	}
}
