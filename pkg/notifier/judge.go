package notifier

import (
	"math/rand/v2"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/config"
)

// The results of an attempt, as counted in bellhop_deliveries_total.
const (
	resultDelivered = "delivered" // the provider has it
	resultRetried   = "retried"   // failed; due again later
	resultPaused    = "paused"    // the provider asked for a pause; not counted as an attempt
	resultDead      = "dead"      // given up
	resultReturned  = "returned"  // stopping; not counted as an attempt
	// Not sent: a newer event, or the same, was sent before.
	resultSuppressed = "suppressed"
)

// verdict is what follows from an attempt.
type verdict struct {
	result  string
	err     error // as Settle is told
	outcome bellhop.Outcome
	pause   time.Duration
}

// maxPause bounds what a provider may ask for, so that a wrong header cannot silence it for a year.
const maxPause = time.Hour

// judge decides what follows from an attempt that ended with err.
func judge(err error, d *bellhop.Delivery, retry config.Retry, now time.Time) verdict {
	since := d.Started
	if since.IsZero() {
		since = d.Accepted
	}
	horizon := since.Add(retry.MaxAge)
	over := !now.Before(horizon)
	switch delay, asked := bellhop.RetryDelay(err); {
	case err == nil:
		return verdict{result: resultDelivered}
	case bellhop.IsStopping(err):
		return verdict{result: resultReturned, err: bellhop.ErrStopping}
	case bellhop.IsPermanent(err):
		return verdict{result: resultDead, err: err}
	case asked && !over:
		delay = min(max(delay, time.Second), maxPause)
		return verdict{result: resultPaused, err: bellhop.RetryAfter(delay, err), pause: delay}
	case over:
		// A pause is over too once the delivery is older than it may get.
		return verdict{result: resultDead, err: plain{err}, outcome: bellhop.Outcome{Dead: true}}
	}
	due := now.Add(backoff(retry.MinBackoff, retry.MaxBackoff, d.Attempts))
	if due.After(horizon) {
		due = horizon // one last try before giving up
	}
	return verdict{result: resultRetried, err: err, outcome: bellhop.Outcome{Due: due}}
}

// plain hides what err was marked with.
type plain struct{ err error }

func (p plain) Error() string { return p.err.Error() }

// backoff is the wait after so many failed attempts: from least, doubled each time up to most, of which half
// is left to chance so that a crowd of deliveries does not come back as one.
func backoff(least, most time.Duration, attempts int) time.Duration {
	d := max(least, time.Millisecond)
	for range min(attempts, 62) {
		if d *= 2; d >= most || d <= 0 {
			break
		}
	}
	if most > 0 && (d > most || d <= 0) {
		d = most
	}
	half := d / 2
	return half + rand.N(half+1)
}
