package main

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/bellhop-dev/bellhop/test/rig"
)

// report is what became of all events of a scenario.
type report struct {
	load           rig.Result
	tally          rig.Tally // of all destinations together
	once           bool
	limit, highest float64 // requests a second to the destination with a rate limit
	window         window
}

// sum adds up what can be added up; of stalls the longest counts. What was acknowledged is the load's to say.
func sum(tallies ...rig.Tally) (all rig.Tally) {
	for _, t := range tallies {
		all.Delivered += t.Delivered
		all.Duplicates += t.Duplicates
		all.Unanswered += t.Unanswered
		all.Lost += t.Lost
		all.Strangers += t.Strangers
		all.AcceptStall = max(all.AcceptStall, t.AcceptStall)
		all.DeliverStall = max(all.DeliverStall, t.DeliverStall)
	}
	return all
}

// refused is how often an event had to be sent again.
func (r report) refused() int64 { return r.load.Refused() + r.load.Broken }

// sent counts each time that an event was sent.
func (r report) sent() int64 { return r.load.Acknowledged + r.refused() }

// recognised is how many events were accepted before, and only the answer was lost.
func (r report) recognised() int64 { return r.load.Statuses[http.StatusOK] }

func (r report) String() string {
	return fmt.Sprintf("sent %d, acknowledged %d (%d of them recognised as accepted before), refused and sent again %d, "+
		"delivered %d, duplicates %d, lost %d; longest stall of accepting %v, of delivering %v; %s",
		r.sent(), r.load.Acknowledged, r.recognised(), r.refused(),
		r.tally.Delivered, r.tally.Duplicates, r.tally.Lost, round(r.tally.AcceptStall), round(r.tally.DeliverStall), r.remarks())
}

// columns of row, in a tabwriter's form.
const columns = "SCENARIO\tSENT\tACKNOWLEDGED\tRECOGNISED\tREFUSED\tDELIVERED\tDUPLICATES\tLOST\tSTALL OF ACCEPTING\tOF DELIVERING\tREMARKS"

func (r report) row() string {
	return fmt.Sprintf("%d\t%d\t%d\t%d\t%d\t%d\t%d\t%v\t%v\t%s",
		r.sent(), r.load.Acknowledged, r.recognised(), r.refused(),
		r.tally.Delivered, r.tally.Duplicates, r.tally.Lost, round(r.tally.AcceptStall), round(r.tally.DeliverStall), r.remarks())
}

func (r report) remarks() string {
	remarks := fmt.Sprintf("at most %.0f/s of %.0f/s", r.highest, r.limit)
	if r.window.asked > 0 {
		remarks += fmt.Sprintf("; %d requests within the %v of Retry-After", len(r.window.early), r.window.asked)
	}
	return remarks
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }

// verdict is an error if a promise was broken, or if the run proves nothing.
func (r report) verdict() error {
	var problems error
	if r.load.Acknowledged == 0 {
		problems = errors.New("nothing was acknowledged: the run proves nothing")
	}
	if r.tally.Lost > 0 {
		problems = errors.Join(problems, fmt.Errorf("%d deliveries of acknowledged events were lost", r.tally.Lost))
	}
	if r.once && r.tally.Duplicates > 0 {
		problems = errors.Join(problems, fmt.Errorf("%d deliveries came more than once", r.tally.Duplicates))
	}
	if r.tally.Unanswered > 0 {
		problems = errors.Join(problems, fmt.Errorf("%d deliveries are of no acknowledged event", r.tally.Unanswered))
	}
	if r.tally.Strangers > 0 {
		problems = errors.Join(problems, fmt.Errorf("%d deliveries name no delivery id", r.tally.Strangers))
	}
	if len(r.window.early) > 0 {
		problems = errors.Join(problems, fmt.Errorf("requests came within the %v that Retry-After asked for, after %v", r.window.asked, r.window.early))
	}
	// A twentieth is what scheduling may add.
	if r.highest > 1.05*r.limit {
		problems = errors.Join(problems, fmt.Errorf("%.0f requests a second came to a destination with a rate limit of %.0f/s", r.highest, r.limit))
	}
	return problems
}
