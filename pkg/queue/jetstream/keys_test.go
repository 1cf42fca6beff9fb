package jetstream

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/queuetest/natstest"
)

// exported are all parts of a queue.
func exported(t testing.TB, q *Queue) (parts []*bellhop.Stored) {
	t.Helper()
	for s, err := range q.Export(within(t)) {
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, s)
	}
	return parts
}

// exportedKeys are the duplicate keys of a queue, by themselves.
func exportedKeys(t testing.TB, q *Queue) map[string]*bellhop.DuplicateKey {
	t.Helper()
	keys := make(map[string]*bellhop.DuplicateKey)
	for _, s := range exported(t, q) {
		if s.Key != nil {
			keys[s.Key.Key] = s.Key
		}
	}
	return keys
}

// putKey puts an event to a provider with a key.
func putKey(t testing.TB, q *Queue, key string, window time.Duration) bellhop.Receipt {
	t.Helper()
	r, err := q.Put(within(t), &bellhop.Post{Key: key, Window: window, Items: []bellhop.Item{to("p")}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func imports(t testing.TB, q *Queue, parts ...*bellhop.Stored) {
	t.Helper()
	if err := q.Import(within(t), parts...); err != nil {
		t.Fatal(err)
	}
}

func keyUntil(key string, expires time.Time) *bellhop.Stored {
	return &bellhop.Stored{Key: &bellhop.DuplicateKey{Key: key, IDs: []string{"event"}, Expires: expires}}
}

// TestKeyOfTheCutOff: a post that lacks pointers is completed here by the second try of its sender, and nowhere else. So
// its key is not carried elsewhere.
func TestKeyOfTheCutOff(t *testing.T) {
	t.Parallel()
	s := natstest.Serve(t).ClientURL()
	q, target := open(t, s, Options{}), open(t, s+"?prefix=target", Options{})
	p := &bellhop.Post{Key: "k", Window: time.Hour, Items: []bellhop.Item{to("p", "lacking")}}
	cutOff(t, q, p)
	imports(t, target, exported(t, q)...)
	p.Items[0].Event.ID = "again"
	if r, err := target.Put(within(t), p); err != nil || r.Duplicate {
		t.Fatalf("%+v, %v, want it accepted", r, err)
	}
	takeOf(t, target, "lacking", "again")
	if r, err := q.Put(within(t), p); err != nil || !r.Duplicate {
		t.Fatalf("%+v, %v, want a duplicate", r, err)
	}
	if keys := exportedKeys(t, q); keys["k"] == nil {
		t.Errorf("keys %v, and k is complete", keys)
	}
}

// TestKeysOfBefore: a post from before posts had their keys in them is recognised where it is, and moved without its key.
func TestKeysOfBefore(t *testing.T) {
	t.Parallel()
	q := open(t, natstest.Serve(t).ClientURL(), Options{})
	p := &bellhop.Post{Key: "k", Window: time.Hour, Items: []bellhop.Item{to("p")}}
	now := time.Now()
	body, _, err := encodePost(p, now.UnixNano(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	with, without := appendKey(nil, "k", now.Add(time.Hour).UnixNano()), appendKey(nil, "", now.Add(time.Hour).UnixNano())
	m, err := q.letter(t.Context(), outline(p, now.UnixNano()), bytes.Replace(body, with, without[:len(without)-2], 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.publish(t.Context(), m, messageID(p.Key, 0)); err != nil {
		t.Fatal(err)
	}
	if keys := exportedKeys(t, q); len(keys) != 0 {
		t.Errorf("keys %v", keys)
	}
	if r := putKey(t, q, "k", time.Hour); !r.Duplicate || !slices.Equal(r.IDs, []string{p.Items[0].Event.ID}) {
		t.Errorf("%+v, want a duplicate", r)
	}
}

// TestImportedKeysOfAnother: whichever replica gets what is known by an imported key, it is recognised.
func TestImportedKeysOfAnother(t *testing.T) {
	t.Parallel()
	url := natstest.Serve(t).ClientURL()
	a, b := open(t, url, Options{}), open(t, url, Options{})
	imports(t, a, keyUntil("k", time.Now().Add(time.Hour)))
	if r := putKey(t, b, "k", time.Hour); !r.Duplicate || !slices.Equal(r.IDs, []string{"event"}) {
		t.Errorf("%+v, want a duplicate", r)
	}
	counts(t, b, "p", 0, 0)
}

// TestImportedKeysAreSwept: keys of their own go with what is as old, once their time is over.
func TestImportedKeysAreSwept(t *testing.T) {
	t.Parallel()
	q := openOld(t, natstest.Serve(t).ClientURL()) // three hours later
	imports(t, q, keyUntil("over", time.Now().Add(time.Hour)), keyUntil("known", time.Now().Add(5*time.Hour)))
	deliver(t, q, "p", 3)
	sweep(t, q)
	if got, want := storedSubjects(t, q), []string{strings.TrimPrefix(q.names.key("known"), "bellhop.")}; !slices.Equal(got, want) {
		t.Errorf("left: %v, want %v", got, want)
	}
}

// duplicates is for how long the server recognises duplicates.
func duplicates(t testing.TB, q *Queue) time.Duration {
	t.Helper()
	s, err := q.js.Stream(within(t), q.names.events())
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().Config.Duplicates
}

// recognises waits until a queue knows for how long the server recognises duplicates.
func recognises(t testing.TB, q *Queue, window time.Duration) {
	t.Helper()
	for ctx := within(t); time.Duration(q.window.Load()) != window; {
		if !sleep(ctx, brisk.look/4) {
			t.Fatalf("recognises duplicates for %v, want %v", time.Duration(q.window.Load()), window)
		}
	}
}

// TestLengthens: the server recognises duplicates for as long as the longest window that is asked for, of any replica's.
func TestLengthens(t *testing.T) {
	t.Parallel()
	url := natstest.Serve(t).ClientURL()
	a, b := open(t, url+"?duplicates=1h", Options{}), open(t, url+"?duplicates=1h", Options{})
	putKey(t, a, "short", time.Hour)
	if got := duplicates(t, a); got != time.Hour {
		t.Fatalf("lengthened to %v, and nobody asked for it", got)
	}
	putKey(t, a, "first", 3*time.Hour)
	recognises(t, a, 3*time.Hour)
	recognises(t, b, 3*time.Hour)
	putKey(t, b, "later", 2*time.Hour)
	putKey(t, b, "later still", 4*time.Hour)
	recognises(t, b, 4*time.Hour)
	recognises(t, a, 4*time.Hour)
	if got := duplicates(t, a); got != 4*time.Hour {
		t.Errorf("%v on the server", got)
	}
	putKey(t, a, "longest", 4*time.Hour)
	keys := exportedKeys(t, b)
	for key, want := range map[string]time.Duration{"short": time.Hour, "first": time.Hour, "later": 2 * time.Hour, "longest": 4 * time.Hour} {
		if left := time.Until(keys[key].Expires); left > want || left < want-time.Minute {
			t.Errorf("%s: known for %v, want %v", key, left, want)
		}
	}
}

// TestLengthensAgain: what another made shorter by mistake is mended by the next who asks for more.
func TestLengthensAgain(t *testing.T) {
	t.Parallel()
	q := open(t, natstest.Serve(t).ClientURL()+"?duplicates=1h", Options{})
	putKey(t, q, "first", 3*time.Hour)
	recognises(t, q, 3*time.Hour)
	c := q.streams()[0]
	c.Replicas = 1
	if _, err := q.js.UpdateStream(within(t), c); err != nil {
		t.Fatal(err)
	}
	recognises(t, q, time.Hour)
	putKey(t, q, "second", 3*time.Hour)
	recognises(t, q, 3*time.Hour)
}

// TestImportLengthens: what was recognised elsewhere for longer than the server does is recognised for as long.
func TestImportLengthens(t *testing.T) {
	t.Parallel()
	q := open(t, natstest.Serve(t).ClientURL(), Options{})
	imports(t, q, keyUntil("k", time.Now().Add(30*time.Hour)), keyUntil("l", time.Now().Add(time.Hour)))
	if got := duplicates(t, q); got != 48*time.Hour {
		t.Errorf("recognised for %v", got)
	}
}

// lines are a log.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestMayNotLengthen: where the stream may not be changed, posts are recognised for as long as it says, and the log says
// what mends it, once.
func TestMayNotLengthen(t *testing.T) {
	t.Parallel()
	s := natstest.Serve(t, func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "admin", Password: "a"},
			{Username: "bellhop", Password: "b", Permissions: &server.Permissions{
				Publish: &server.SubjectPermission{Deny: []string{"$JS.API.STREAM.UPDATE.>"}},
			}},
		}
	})
	address := s.Addr().String()
	admin := open(t, "nats://admin:a@"+address+"?duplicates=1h", Options{})
	short := brisk
	short.patience = time.Second
	var log lines
	q := open(t, "nats://bellhop:b@"+address+"?duplicates=1h", Options{timing: short, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	const warning = "nats stream edit BELLHOP_EVENTS --dupe-window=3h0m0s"
	for range 3 {
		putKey(t, q, "k", 3*time.Hour)
		for ctx := within(t); !strings.Contains(log.String(), warning); {
			if !sleep(ctx, brisk.look) {
				t.Fatalf("log %s, want %s", &log, warning)
			}
		}
	}
	if n := strings.Count(log.String(), warning); n != 1 {
		t.Errorf("warned %d times", n)
	}
	if !strings.Contains(log.String(), "STREAM.UPDATE.BELLHOP_EVENTS") {
		t.Errorf("log %s, want what was refused", &log)
	}
	if left := time.Until(exportedKeys(t, q)["k"].Expires); left > time.Hour {
		t.Errorf("known for %v", left)
	}
	// What the log says is done by hand.
	c := admin.streams()[0]
	c.Replicas, c.Duplicates = 1, 3*time.Hour
	if _, err := admin.js.UpdateStream(within(t), c); err != nil {
		t.Fatal(err)
	}
	recognises(t, q, 3*time.Hour)
	putKey(t, q, "l", 3*time.Hour)
	if left := time.Until(exportedKeys(t, q)["l"].Expires); left < 2*time.Hour {
		t.Errorf("known for %v", left)
	}
}
