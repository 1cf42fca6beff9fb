package record

import (
	"strings"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// After is what becomes of a delivery by an attempt, and where it stands then. An attempt that was stopped leaves
// it as it was.
func (d *Delivery) After(err error, o bellhop.Outcome, now time.Time) (Delivery, bellhop.DeliveryState) {
	is := *d
	return is, is.after(err, o, now)
}

func (d *Delivery) after(err error, o bellhop.Outcome, now time.Time) bellhop.DeliveryState {
	if bellhop.IsStopping(err) {
		return bellhop.Waiting
	}
	if o.Started.IsZero() {
		o.Started = now.Add(-o.Took)
	}
	if d.Note = ""; err == nil && o.Note != "" { // nothing was tried
		d.Note, d.Err, d.Since, d.Due = o.Note, "", now.UnixNano(), 0
		return bellhop.Delivered
	}
	d.tried(o.Started, o.Took, err)
	if err == nil {
		d.Attempts, d.Since, d.Due = d.Attempts+1, now.UnixNano(), 0
		return bellhop.Delivered
	}
	if pause, ok := bellhop.RetryDelay(err); ok {
		d.Due = now.Add(pause).UnixNano()
		return bellhop.Waiting
	}
	d.Attempts++
	if o.Dead || bellhop.IsPermanent(err) {
		d.Since, d.Due = now.UnixNano(), 0
		return bellhop.Dead
	}
	d.Due = Nanos(o.Due)
	if d.Due == 0 {
		d.Due = now.UnixNano()
	}
	return bellhop.Waiting
}

// Restart makes a delivery due at a time, with a fresh count of attempts. What went before stays in its log.
func (d *Delivery) Restart(at int64) {
	d.Started, d.Due, d.Since, d.Attempts = at, at, at, 0
}

// tried adds an attempt to the log and keeps the last ones.
func (d *Delivery) tried(started time.Time, took time.Duration, err error) {
	d.Err = ""
	if err != nil {
		d.Err = err.Error()
		if len(d.Err) > maxError {
			d.Err = strings.ToValidUTF8(d.Err[:maxError], "")
		}
	}
	d.Log = append(d.Log, bellhop.Attempt{Time: started.UTC(), Took: took, Error: d.Err})
	if n := len(d.Log) - maxLog; n > 0 {
		d.Log = append([]bellhop.Attempt(nil), d.Log[n:]...)
	}
}

// Hidden is the inverse of Show; the size is left out.
func Hidden(d *bellhop.Delivery) Delivery {
	return Delivery{
		Route: d.Route, Accepted: Nanos(d.Accepted), Started: Nanos(d.Started), Due: Nanos(d.Due), Since: Nanos(d.Time),
		Attempts: int64(d.Attempts), Err: d.Error, Note: d.Note, Log: append([]bellhop.Attempt(nil), d.Log...),
	}
}

// Fresh reports whether a waiting delivery is as it was when it was accepted.
func (d *Delivery) Fresh() bool {
	return d.Started == d.Accepted && d.Since == d.Accepted && d.Untried() && len(d.Log) == 0
}

// Untried reports whether a delivery that waits was not tried since it began.
func (d *Delivery) Untried() bool { return d.Attempts == 0 && d.Due == d.Started }

// Show is the delivery as the vocabulary has it.
func (d *Delivery) Show(state bellhop.DeliveryState, event, provider string) *bellhop.Delivery {
	out := &bellhop.Delivery{
		ID:       bellhop.DeliveryID(event, provider),
		Event:    event,
		Provider: provider,
		Route:    d.Route,
		State:    state,
		Accepted: Moment(d.Accepted),
		Started:  Moment(d.Started),
		Attempts: int(d.Attempts),
		Log:      append([]bellhop.Attempt(nil), d.Log...),
		Error:    d.Err,
		Note:     d.Note,
		Time:     Moment(d.Since),
	}
	if state == bellhop.Waiting {
		out.Due = Moment(d.Due)
	}
	return out
}
