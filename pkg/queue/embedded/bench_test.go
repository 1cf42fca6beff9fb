package embedded

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/queuetest"
)

// benchBody is 8 kB that compress as well as a push event does: names and URLs again and again, hashes not.
var benchBody = func() []byte {
	var b strings.Builder
	for i := 0; b.Len() < 8<<10; i++ {
		fmt.Fprintf(&b, `{"id":"%040x","message":"change %d","url":"https://github.com/example/app/commit/%x","author":{"name":"A. U. Thor"}},`,
			uint64(i)*0x9e3779b97f4a7c15, i, uint64(i)*0xbf58476d1ce4e5b9)
	}
	return []byte(b.String()[:8<<10])
}()

func benchEvent() *bellhop.Event {
	e := queuetest.NewEvent("")
	e.Raw = benchBody
	e.DeliveryID = e.ID
	e.Repo = bellhop.Repo{Name: "example/app", HTTPURL: "https://github.com/example/app.git", SSHURL: "git@github.com:example/app.git", WebURL: "https://github.com/example/app"}
	e.Ref, e.Branch, e.Before, e.Commit = "refs/heads/main", "main", strings.Repeat("ab", 20), strings.Repeat("cd", 20)
	e.Headers = map[string]string{
		"Content-Type": "application/json", "User-Agent": "GitHub-Hookshot/044aadd", "X-Github-Event": "push",
		"X-Github-Delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958", "X-Github-Hook-Id": "292430182",
	}
	return e
}

func openBench(b *testing.B) *Queue {
	b.Helper()
	q, err := Open(b.Context(), b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := q.Close(); err != nil {
			b.Error(err)
		}
	})
	return q
}

const benchConnections = 64

// parallel calls do n times from so many goroutines and returns the calls a second.
func parallel(n int, do func(i int) error) (float64, error) {
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	begin := time.Now()
	for range benchConnections {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				if err := do(int(i)); err != nil {
					failed.Store(&err)
					return
				}
			}
		})
	}
	wg.Wait()
	rate := float64(n) / time.Since(begin).Seconds()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return rate, nil
}

// BenchmarkPut stores 8 kB events with a random duplicate key from 64 goroutines, and the same bytes in a
// hand-written log before and after. ratio is what of the log's rate is left.
func BenchmarkPut(b *testing.B) {
	for _, fan := range []int{1, 10} {
		b.Run(fmt.Sprintf("targets=%d", fan), func(b *testing.B) {
			var to []bellhop.Target
			for i := range fan {
				to = append(to, bellhop.Target{Provider: fmt.Sprintf("provider-%d", i)})
			}
			q := openBench(b)
			put := func(int) error {
				e := benchEvent()
				_, err := q.Put(context.Background(), &bellhop.Post{
					Key: fmt.Sprintf("app/%016x%016x", rand.Uint64(), rand.Uint64()), Window: time.Hour, Items: []bellhop.Item{{Event: e, To: to}},
				})
				return err
			}
			reference := func(n int) float64 {
				l, err := queuetest.OpenGroupCommitLog(filepath.Join(b.TempDir(), "log"))
				if err != nil {
					b.Fatal(err)
				}
				rate, err := parallel(n, func(int) error { return l.Append(benchBody) })
				if err != nil {
					b.Fatal(err)
				}
				if err := l.Close(); err != nil {
					b.Fatal(err)
				}
				return rate
			}
			before := reference(b.N)
			b.ResetTimer()
			b.ReportAllocs()
			rate, err := parallel(b.N, put)
			if err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			after := reference(b.N)
			b.ReportMetric(rate, "put/s")
			b.ReportMetric(2*rate/(before+after), "ratio")
		})
	}
}

// BenchmarkTakeSettle takes and accepts deliveries of 8 kB events from 16 goroutines, the event read for each.
func BenchmarkTakeSettle(b *testing.B) {
	q := openBench(b)
	if _, err := parallel(b.N, func(int) error {
		_, err := q.Put(context.Background(), &bellhop.Post{Items: []bellhop.Item{{
			Event: benchEvent(), To: []bellhop.Target{{Provider: "p"}},
		}}})
		return err
	}); err != nil {
		b.Fatal(err)
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	b.ReportAllocs()
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				l, err := q.Take(context.Background(), "p")
				if err != nil {
					b.Error(err)
					return
				}
				e, err := l.Event(context.Background())
				if err != nil || !bytes.Equal(e.Raw, benchBody) {
					b.Errorf("reading the event: %v", err)
					return
				}
				if err := l.Settle(context.Background(), nil, bellhop.Outcome{}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "delivered/s")
}

// resident is the process's resident set in MiB: what the kernel counts, file cache excepted.
func resident(t testing.TB) float64 {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("no /proc/self/status here")
	}
	for line := range strings.Lines(string(status)) {
		if kb, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(kb), "kB")), 64)
			if err != nil {
				t.Fatal(err)
			}
			return n / 1024
		}
	}
	t.Fatal("no VmRSS in /proc/self/status")
	return 0
}

// TestBacklogMemory fills a queue with BELLHOP_BACKLOG events of 8 kB and tells what that costs, open and
// opened anew. It needs as much disk, so it runs only on request.
func TestBacklogMemory(t *testing.T) { //nolint:paralleltest // it measures the process's memory
	n, err := strconv.Atoi(os.Getenv("BELLHOP_BACKLOG"))
	if err != nil {
		t.Skip("BELLHOP_BACKLOG is not set; 1000000 takes 10 GB and a minute")
	}
	dir := t.TempDir()
	q, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("empty: %.0f MiB", resident(t))
	var peak float64
	var mu sync.Mutex
	rate, err := parallel(n, func(i int) error {
		if i%20000 == 0 {
			mu.Lock()
			peak = max(peak, resident(t))
			mu.Unlock()
		}
		e := benchEvent()
		_, err := q.Put(context.Background(), &bellhop.Post{Key: e.ID, Window: time.Hour, Items: []bellhop.Item{{
			Event: e, To: []bellhop.Target{{Provider: fmt.Sprintf("p%d", i%10)}},
		}}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("filled at %.0f events/s: peak %.0f MiB, then %.0f MiB", rate, peak, resident(t))
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if q, err = Open(t.Context(), dir, Options{}); err != nil {
		t.Fatal(err)
	}
	opened := time.Since(begin)
	begin = time.Now()
	for range 10000 {
		l, err := q.Take(context.Background(), "p3")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Event(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := l.Settle(context.Background(), nil, bellhop.Outcome{}); err != nil {
			t.Fatal(err)
		}
	}
	last := resident(t)
	t.Logf("opened in %v, 10000 delivered in %v: %.0f MiB", opened, time.Since(begin), last)
	if peak = max(peak, last); peak > 200 {
		t.Errorf("%.0f MiB resident, at most 200 are allowed", peak)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}
