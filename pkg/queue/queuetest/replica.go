package queuetest

import (
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

var replicaCases = []testCase{
	{"NobodyYet", func(r *rig) {
		r.replicas()
	}},
	{"Announced", func(r *rig) {
		r.announce("hash")
		r.replicas("hash")
	}},
	{"AnnouncedAnew", func(r *rig) {
		r.announce("")
		r.announce("old")
		r.announce("new")
		r.replicas("new")
	}},
	{"GoneWithItsProcess", func(r *rig) {
		r.announce("hash")
		r.reopen()
		r.replicas()
	}},
}

// announce announces this process with a configuration.
func (r *rig) announce(hash string) {
	r.Helper()
	r.must(r.Announce(r.context(), replica(hash)))
}

// replica is a process with an awkward name.
func replica(hash string) bellhop.Replica {
	at := time.Date(2026, 3, 1, 12, 30, 15, 123456789, time.UTC)
	return bellhop.Replica{Name: "host.example/7 é", Version: "v1", Started: at, ConfigHash: hash, Loaded: at.Add(time.Hour)}
}

// replicas wants those with these configurations, seen just now.
func (r *rig) replicas(hashes ...string) {
	r.Helper()
	got, err := r.Replicas(r.context())
	r.must(err)
	if len(got) != len(hashes) {
		r.Fatalf("%d replicas %+v, want %d", len(got), got, len(hashes))
	}
	for i, hash := range hashes {
		is, want := got[i], replica(hash)
		if age := time.Since(is.Seen).Abs(); age > patience {
			r.Errorf("seen %v", is.Seen)
		}
		is.Seen = time.Time{}
		if is != want {
			r.Errorf("replica %+v, want %+v", is, want)
		}
	}
}
