package queuetest

import (
	"strconv"
	"strings"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

var memoCases = []testCase{
	{"None", func(r *rig) {
		r.put("p")
		r.settle(r.take("p"), nil)
		r.forgotten("p", "key")
		r.forgotten("nobody", "key")
	}},
	{"BadKey", func(r *rig) {
		for _, key := range []string{"", strings.Repeat("k", 1<<20)} {
			if _, _, err := r.Recall(r.context(), "p", key); err == nil {
				r.Errorf("recalled a key of %d bytes", len(key))
			}
		}
	}},
	{"Kept", func(r *rig) {
		m := r.leave("p", "key", "value")
		r.remembered("p", m)
		r.forgotten("q", "key")
		r.reopen()
		r.remembered("p", m)
	}},
	{"ReplacedByTheNext", func(r *rig) {
		r.leave("p", "key", "first")
		m, other := r.leave("p", "key", "second"), r.leave("p", "other", "third")
		r.remembered("p", m)
		r.remembered("p", other)
	}},
	{"AwkwardKeys", func(r *rig) {
		var ms []bellhop.Memo
		for _, key := range []string{"\x00", "\xff", "a\x00b", "a", "a\x00", strings.Repeat("k", 64)} {
			ms = append(ms, r.leave("p", key, "of "+key))
		}
		for _, m := range ms {
			r.remembered("p", m)
		}
	}},
	{"OnlyOfTheAccepted", func(r *rig) {
		m := &bellhop.Memo{Key: "key", Event: "e", Expires: time.Now().Add(time.Hour)}
		for _, err := range []error{errDown, bellhop.RetryAfter(0, errDown), bellhop.ErrStopping, bellhop.Permanent(errDown)} {
			r.put("p")
			r.settle(r.take("p"), err, bellhop.Outcome{Due: time.Now().Add(time.Hour), Memo: m})
			r.forgotten("p", "key")
		}
	}},
	{"OfADeliveryReplayedMeanwhile", func(r *rig) {
		id := r.put("p")
		lease := r.take("p")
		_, err := r.Replay(r.context(), id, targets("p"))
		r.must(err)
		m := bellhop.Memo{Key: "key", Event: id, Expires: time.Now().Add(time.Hour)}
		r.settle(lease, nil, bellhop.Outcome{Memo: &m})
		r.remembered("p", m)
	}},
	{"Expires", func(r *rig) {
		r.put("p")
		r.settle(r.take("p"), nil, bellhop.Outcome{Memo: &bellhop.Memo{Key: "key", Event: "e", Expires: time.Now()}})
		r.forgotten("p", "key")
		m := r.leave("p", "key", "again")
		r.remembered("p", m)
	}},
	{"NoteOfWhatWasNotSent", func(r *rig) {
		id := r.put("p")
		r.settle(r.take("p"), errDown)
		r.settle(r.take("p"), nil, bellhop.Outcome{Note: "the same was sent before"})
		for range 2 {
			d := r.delivery(id, "p")
			if d.State != bellhop.Delivered || d.Note != "the same was sent before" || d.Error != "" || d.Attempts != 1 || len(d.Log) != 1 {
				r.Fatalf("delivery %+v", d)
			}
			r.reopen()
		}
		_, err := r.Replay(r.context(), id, targets("p"))
		r.must(err)
		r.settle(r.take("p"), nil)
		if d := r.delivery(id, "p"); d.Note != "" || d.Attempts != 1 {
			r.Fatalf("sent after all, but %+v", d)
		}
	}},
	{"Many", func(r *rig) {
		var ms []bellhop.Memo
		for i := range 100 {
			ms = append(ms, r.leave("p", strconv.Itoa(i%10), strconv.Itoa(i)))
		}
		for _, m := range ms[90:] {
			r.remembered("p", m)
		}
	}},
}

// leave has a delivery accepted that leaves a memo.
func (r *rig) leave(provider, key, value string) bellhop.Memo {
	r.Helper()
	m := bellhop.Memo{
		Key: key, Value: value, Event: r.put(provider), Time: time.Now().Add(-time.Minute).UTC(),
		Expires: time.Now().Add(time.Hour).UTC(),
	}
	r.settle(r.take(provider), nil, bellhop.Outcome{Memo: &m})
	return m
}

func (r *rig) remembered(provider string, want bellhop.Memo) {
	r.Helper()
	got, ok, err := r.Recall(r.context(), provider, want.Key)
	r.must(err)
	same := got.Key == want.Key && got.Value == want.Value && got.Event == want.Event && got.Time.Equal(want.Time) && got.Expires.Equal(want.Expires)
	if !ok || !same {
		r.Fatalf("recalled %t %+v, want %+v", ok, got, want)
	}
}

func (r *rig) forgotten(provider, key string) {
	r.Helper()
	if m, ok, err := r.Recall(r.context(), provider, key); ok || err != nil {
		r.Fatalf("recalled %+v, %v", m, err)
	}
}
