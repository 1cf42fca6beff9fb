package jetstream

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/queuetest"
	"github.com/bellhop-dev/bellhop/pkg/queue/queuetest/natstest"
)

// to makes an event for providers.
func to(providers ...string) bellhop.Item {
	item := bellhop.Item{Event: queuetest.NewEvent("")}
	for _, p := range providers {
		item.To = append(item.To, bellhop.Target{Provider: p})
	}
	return item
}

func TestGarbageIsNoCursor(t *testing.T) {
	t.Parallel()
	q := open(t, natstest.Serve(t).ClientURL(), Options{})
	put(t, q, "p")
	for name, text := range map[string]string{
		"nothing in it": " ", "a word": "word", "no event": "1 1  p", "too short": "1 1 event", "a sequence that is no number": "x 1 event p",
		"a negative sequence": "-1 1 event p", "a count that is no number": "1 x event p", "too large": "18446744073709551616 1 event p",
	} {
		for _, cursor := range []string{text, base64.RawURLEncoding.EncodeToString([]byte(text))} {
			p := bellhop.Page{Limit: 1, Cursor: cursor}
			for _, state := range []bellhop.DeliveryState{"", bellhop.Waiting, bellhop.Dead} {
				if ds, _, err := q.Deliveries(t.Context(), bellhop.DeliveryFilter{State: state}, p); err == nil {
					t.Errorf("%s: deliveries %v after %q", name, ds, cursor)
				}
			}
			if es, _, err := q.Events(t.Context(), p); err == nil {
				t.Errorf("%s: events %v after %q", name, es, cursor)
			}
		}
	}
}

// TestListsAllThatWaits has some of three providers' deliveries wait, among far more that do not: of p some old ones are to
// be tried again, and the last ones were never tried; of q some old ones are to be tried again, and all else is done; of r
// nothing was tried.
func TestListsAllThatWaits(t *testing.T) {
	t.Parallel()
	q := open(t, natstest.Serve(t).ClientURL(), Options{})
	random := rand.New(rand.NewPCG(1, 2))
	all := make(map[string][]string) // the ids of a provider's deliveries, in their order
	var order []string               // of all deliveries, as they are listed, the oldest event first
	mayWait := []string{"p", "q", "r"}
	for i := range 90 {
		post := &bellhop.Post{}
		for range 1 + random.IntN(3) {
			providers := []string{"p", "q"}[:random.IntN(3)]
			if random.IntN(12) == 0 {
				providers = mayWait[i%3:]
			}
			providers = slices.Clone(providers)
			random.Shuffle(len(providers), func(i, j int) { providers[i], providers[j] = providers[j], providers[i] })
			post.Items = append(post.Items, to(providers...))
		}
		if _, err := q.Put(t.Context(), post); err != nil {
			t.Fatal(err)
		}
		for _, item := range post.Items {
			var ids []string
			for _, to := range item.To {
				id := bellhop.DeliveryID(item.Event.ID, to.Provider)
				all[to.Provider] = append(all[to.Provider], id)
				ids = append(ids, id)
			}
			slices.SortFunc(ids, func(a, b string) int { return cmp.Compare(b, a) })
			order = append(order, ids...)
		}
	}
	slices.Reverse(order)
	waits := make(map[string]bool)
	for provider, tried := range map[string]int{"p": len(all["p"]) - 6, "q": len(all["q"]), "r": 0} {
		for i, id := range all[provider] {
			if i >= tried {
				waits[id] = true
				continue
			}
			l := take(t, q, provider)
			if got := l.Delivery().ID; got != id {
				t.Fatalf("took %s, want %s", got, id)
			}
			var err error
			switch i % 11 {
			case 3:
				err = errDown
				waits[id] = true
			case 5:
				err = errGone
			}
			if err := l.Settle(t.Context(), err, bellhop.Outcome{Due: time.Now().Add(time.Hour)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, provider := range []string{"", "p", "q", "r", "none"} {
		var want []string
		for _, id := range order {
			if waits[id] && (provider == "" || slices.Contains(all[provider], id)) {
				want = append(want, id)
			}
		}
		for _, limit := range []int{1, 2, 3, 100} {
			t.Run(fmt.Sprintf("%s/%d", cmp.Or(provider, "all"), limit), func(t *testing.T) {
				var got []string
				for _, d := range page(t, q, bellhop.DeliveryFilter{Provider: provider, State: bellhop.Waiting}, limit) {
					got = append(got, d.ID)
				}
				if got = queuetest.GroupedByEvent(got); !slices.Equal(got, want) {
					t.Errorf("%d listed, want %d\n%v\n%v", len(got), len(want), got, want)
				}
			})
		}
		if len(want) == 0 && provider != "none" {
			t.Errorf("nothing of %s waits", provider)
		}
	}
}

// TestListsWhatIsHardToFind: one delivery that was never tried waits behind far more that is done.
func TestListsWhatIsHardToFind(t *testing.T) {
	t.Parallel()
	for name, arrange := range map[string]func(t *testing.T, q *Queue) (id string){
		"its pointer came late": func(t *testing.T, q *Queue) string {
			post := &bellhop.Post{Key: "key", Window: time.Hour, Items: []bellhop.Item{to("q", "p")}}
			cutOff(t, q, post)
			deliver(t, q, "p", maxWindow/16)
			if r, err := q.Put(t.Context(), post); err != nil || !r.Duplicate {
				t.Fatalf("%+v, %v", r, err)
			}
			return post.Items[0].Event.ID
		},
		"another was cut off": func(t *testing.T, q *Queue) string {
			id := put(t, q, "p")
			deliver(t, q, "q", maxWindow/16)
			cutOff(t, q, &bellhop.Post{Key: "key", Window: time.Hour, Items: []bellhop.Item{to("q", "p")}})
			return id
		},
		"a record of retries was left over": func(t *testing.T, q *Queue) string {
			tried := put(t, q, "p")
			settle(t, q, takeOf(t, q, "p", tried), errDown, time.Time{})
			is, err := q.latest(t.Context(), q.names.records(), q.names.delivery(kindRetry, "p", tried))
			if err != nil {
				t.Fatal(err)
			}
			settle(t, q, takeOf(t, q, "p", tried), nil, time.Time{})
			if err := q.record(t.Context(), kindRetry, "p", tried, is.Data); err != nil {
				t.Fatal(err)
			}
			return put(t, q, "p")
		},
		"an older event's id is the higher one, and it is to be tried again": func(t *testing.T, q *Queue) string {
			low := &bellhop.Post{Items: []bellhop.Item{to("p")}} // by the clock of another replica
			id := put(t, q, "p")
			settle(t, q, takeOf(t, q, "p", id), errDown, time.Now().Add(time.Hour))
			if _, err := q.Put(t.Context(), low); err != nil {
				t.Fatal(err)
			}
			return id
		},
		"a newer event's id is the lower one, and it is to be tried again": func(t *testing.T, q *Queue) string {
			settle(t, q, takeOf(t, q, "p", put(t, q, "p")), errDown, time.Now().Add(time.Hour))
			low := &bellhop.Post{Items: []bellhop.Item{to("p")}}
			untried := put(t, q, "p")
			if _, err := q.Put(t.Context(), low); err != nil {
				t.Fatal(err)
			}
			l := takeOf(t, q, "p", untried)
			id := low.Items[0].Event.ID
			settle(t, q, takeOf(t, q, "p", id), errDown, time.Now().Add(time.Hour))
			settle(t, q, l, bellhop.ErrStopping, time.Time{})
			return id
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := open(t, natstest.Serve(t).ClientURL(), Options{})
			id := arrange(t, q)
			for _, provider := range []string{"", "p"} {
				n := 0
				for _, d := range page(t, q, bellhop.DeliveryFilter{Provider: provider, State: bellhop.Waiting}, 1) {
					if d.ID == bellhop.DeliveryID(id, "p") {
						n++
					}
				}
				if n != 1 {
					t.Errorf("listed %d times, provider %q", n, provider)
				}
			}
		})
	}
}

// messageOf is the message of a post that is put now.
func messageOf(t testing.TB, q *Queue, p *bellhop.Post) *nats.Msg {
	t.Helper()
	now := time.Now().UnixNano()
	body, _, err := encodePost(p, now, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	m, err := q.letter(t.Context(), outline(p, now), body)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// cutOff does what a Put does that gets no further than its post.
func cutOff(t testing.TB, q *Queue, p *bellhop.Post) {
	t.Helper()
	if _, err := q.publish(t.Context(), messageOf(t, q, p), messageID(p.Key, 0)); err != nil {
		t.Fatal(err)
	}
}

// deliver puts and delivers n events.
func deliver(t testing.TB, q *Queue, provider string, n int) {
	t.Helper()
	for range n {
		settle(t, q, takeOf(t, q, provider, put(t, q, provider)), nil, time.Time{})
	}
}
