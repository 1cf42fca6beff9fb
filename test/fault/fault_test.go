package main

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/test/natsrig"
	"github.com/bellhop-dev/bellhop/test/rig"
)

// TestNothingIsLost is a short run of what `make fault` does at length.
func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	if err := rig.LookAt("../../cmd", "../../pkg"); err != nil {
		t.Fatal(err)
	}
	o := options{For: 6 * time.Second, Rate: 50, Drain: time.Minute, Settle: time.Second, Log: t.Output()}
	var err error
	if o.Program, err = rig.Build(t.Context(), "../../cmd/bellhop", "bellhop", t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if o.Server, err = natsrig.Build(t.Context(), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name     string
		embedded bool
	}{{"rolling", false}, {"kill", true}} {
		o.Embedded, o.Dir = tc.embedded, t.TempDir()
		wanted, err := choose(tc.name, o.Embedded)
		if err != nil {
			t.Fatal(err)
		}
		r, err := play(t.Context(), o, wanted[0])
		t.Logf("%s: %v", tc.name, r)
		if err == nil {
			err = r.verdict()
		}
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		r    report
		want string // in the error; none if empty
	}{
		{"good", report{load: rig.Result{Acknowledged: 1}, tally: rig.Tally{Delivered: 3}, once: true, limit: 10, highest: 10.4}, ""},
		{"duplicates after a fault", report{load: rig.Result{Acknowledged: 1}, tally: rig.Tally{Duplicates: 1}}, ""},
		{"duplicates in ordinary operation", report{load: rig.Result{Acknowledged: 1}, tally: rig.Tally{Duplicates: 1}, once: true}, "more than once"},
		{"lost", report{load: rig.Result{Acknowledged: 1}, tally: rig.Tally{Lost: 1}}, "lost"},
		{"no load", report{}, "proves nothing"},
		{"made up", report{load: rig.Result{Acknowledged: 1}, tally: rig.Tally{Unanswered: 1}}, "no acknowledged event"},
		{"strangers", report{load: rig.Result{Acknowledged: 1}, tally: rig.Tally{Strangers: 1}}, "delivery id"},
		{"impatient", report{load: rig.Result{Acknowledged: 1}, window: window{asked: time.Second, early: []time.Duration{1}}}, "Retry-After"},
		{"too fast", report{load: rig.Result{Acknowledged: 1}, limit: 10, highest: 11}, "rate limit"},
	} {
		switch err := tc.r.verdict(); {
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v", tc.name, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%s: %v, want one about %q", tc.name, err, tc.want)
		}
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		only     string
		embedded bool
		want     string
	}{
		{"", true, "steady rolling kill"},
		{"", false, "steady rolling kill leader frozen quorum partition disk retry-after upgrade stepdown latency"},
		{"kill,steady", false, "steady kill"},
		{"kill,leader", true, "error"},
		{"kill,kill", false, "error"},
		{"kil", false, "error"},
	} {
		var names []string
		wanted, err := choose(tc.only, tc.embedded)
		for _, s := range wanted {
			names = append(names, s.name)
		}
		if err != nil {
			names = []string{"error"}
		}
		if got := strings.Join(names, " "); got != tc.want {
			t.Errorf("%q: %s, want %s", tc.only, got, tc.want)
		}
	}
}

// TestReportCounts: an answer of 200 is to an event that was accepted before, and its answer lost.
func TestReportCounts(t *testing.T) {
	t.Parallel()
	r := report{load: rig.Result{Acknowledged: 10, Broken: 3, Statuses: map[int]int64{
		http.StatusAccepted: 9, http.StatusOK: 1, http.StatusServiceUnavailable: 5,
	}}}
	r.tally = sum(
		rig.Tally{Delivered: 10, AcceptStall: time.Second, DeliverStall: time.Minute},
		rig.Tally{Delivered: 9, Lost: 1, AcceptStall: time.Second, DeliverStall: time.Second},
	)
	want := "18\t10\t1\t8\t19\t0\t1\t1s\t1m0s\tat most 0/s of 0/s"
	if got := r.row(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDestinationTimes(t *testing.T) {
	t.Parallel()
	d := newDestination()
	t.Cleanup(d.server.Close)
	begin := time.Now()
	at := func(ms int) time.Time { return begin.Add(time.Duration(ms) * time.Millisecond) }
	// 20 a second for half a second, silence, then 10 a second for five.
	for i := range 10 {
		d.arrivals = append(d.arrivals, at(50*i))
	}
	for i := range 50 {
		d.arrivals = append(d.arrivals, at(20_000+100*i))
	}
	if got := d.highest(); got != 10 {
		t.Errorf("at most %v/s, want 10", got)
	}
	got := d.between(begin, 400*time.Millisecond, 20_200*time.Millisecond)
	if want := []time.Duration{450 * time.Millisecond, 20 * time.Second, 20_100 * time.Millisecond}; !slices.Equal(got, want) {
		t.Errorf("requests came after %v, want %v", got, want)
	}
	if got, err := d.next(t.Context(), at(450)); err != nil || !got.Equal(at(20_000)) {
		t.Errorf("the next one came at %v, %v", got.Sub(begin), err)
	}
}
