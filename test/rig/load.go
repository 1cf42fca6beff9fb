package rig

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Load sends pushes over connections that are kept alive. It writes prepared bytes and reads no more of an
// answer than it must, so that on one machine the server gets most of the processor.
type Load struct {
	// Hooks are sent to in turn, at least one.
	Hooks []*Hook
	// Hosts are the host:port of replicas that all serve the hooks; empty for the hooks' own. As behind a load
	// balancer, connections are spread over them, and one that breaks or is refused goes on with the next.
	Hosts []string
	// Connections send at the same time, each one push after the other.
	Connections int
	// Fresh is how many of the connections are made anew for each push.
	Fresh int
	// RootCAs are the authorities that the certificates of https hooks are verified against; nil for the system's.
	RootCAs *x509.CertPool
	// Count and For end the load, whichever comes first. Both must be set: no load is unbounded.
	Count int64
	For   time.Duration
	// Rate is pushes a second over all connections; 0 is as fast as answers come.
	Rate float64
	// First is the number of the first delivery.
	First int64
	// Persist sends a delivery again, under the same id, until it is answered with 2xx: after a broken
	// connection, and after 429 and 503. Without it a broken connection ends the load with an error.
	Persist bool
	// Pause is the time before a delivery is sent again; 20 ms if 0.
	Pause time.Duration
	// Acknowledged is told of each delivery that was answered with 2xx; nil for nobody. It is called by all
	// connections at the same time.
	Acknowledged func(n int64, sent, answered time.Time)
}

// Result is what became of a load.
type Result struct {
	// Acknowledged were answered with 2xx.
	Acknowledged int64
	// Statuses counts all answers, Broken the connections that failed with a push on its way.
	Statuses map[int]int64
	Broken   int64
	Elapsed  time.Duration
	// Latencies of the acknowledged, sorted. From writing the request to the end of the answer, or, with a
	// Rate, from the time at which it should have been sent.
	Latencies []time.Duration
}

// PerSecond is the rate of acknowledged pushes.
func (r Result) PerSecond() float64 { return float64(r.Acknowledged) / r.Elapsed.Seconds() }

// Refused is how many answers were not 2xx.
func (r Result) Refused() int64 {
	var n int64
	for status, count := range r.Statuses {
		if !ok(status) {
			n += count
		}
	}
	return n
}

// String is one line for people.
func (r Result) String() string {
	var statuses []string
	for _, s := range slices.Sorted(maps.Keys(r.Statuses)) {
		statuses = append(statuses, fmt.Sprintf("%d: %d", s, r.Statuses[s]))
	}
	return fmt.Sprintf("%d acknowledged in %v, %.0f/s; p50 %v p99 %v max %v; answers {%s}, %d broken connections",
		r.Acknowledged, r.Elapsed.Round(time.Millisecond), r.PerSecond(),
		Percentile(r.Latencies, 50), Percentile(r.Latencies, 99), Percentile(r.Latencies, 100),
		strings.Join(statuses, ", "), r.Broken)
}

// Percentile of sorted durations; 0 if there are none.
func Percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	i := int(p/100*float64(len(sorted))+0.5) - 1
	return sorted[min(max(i, 0), len(sorted)-1)].Round(time.Microsecond)
}

func ok(status int) bool { return status >= 200 && status < 300 }

// Run sends until Count, For or ctx ends it. A push that is on its way then is finished, unless ctx ended.
func (l *Load) Run(ctx context.Context) (Result, error) {
	if len(l.Hooks) == 0 || l.Connections < 1 || l.Count < 1 || l.For <= 0 {
		return Result{}, errors.New("a load needs hooks, connections, a count and a time")
	}
	var (
		start   = time.Now()
		next    atomic.Int64 // pushes begun
		mu      sync.Mutex
		total   = Result{Statuses: map[int]int64{}}
		failure error
		wg      sync.WaitGroup
	)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for i := range l.Connections {
		wg.Go(func() {
			s := sender{load: l, fresh: i < l.Fresh, turn: i, statuses: map[int]int64{}}
			err := s.run(ctx, start, &next)
			if err != nil {
				cancel(err)
			}
			s.close()
			mu.Lock()
			defer mu.Unlock()
			failure = errors.Join(failure, err)
			total.Acknowledged += int64(len(s.latencies))
			total.Broken += s.broken
			total.Latencies = append(total.Latencies, s.latencies...)
			for status, n := range s.statuses {
				total.Statuses[status] += n
			}
		})
	}
	wg.Wait()
	total.Elapsed = time.Since(start)
	slices.Sort(total.Latencies)
	return total, failure
}

// sender is one connection at a time.
type sender struct {
	load      *Load
	fresh     bool
	turn      int // of the load's hosts
	conn      net.Conn
	r         *bufio.Reader
	id        []byte
	statuses  map[int]int64
	broken    int64
	latencies []time.Duration
}

func (s *sender) close() {
	if s.conn != nil {
		_ = s.conn.Close() // its fate no longer matters
		s.conn = nil
	}
}

// next leaves a host that broke the connection or refused.
func (s *sender) next() {
	if len(s.load.Hosts) > 0 {
		s.close()
		s.turn++
	}
}

func (s *sender) run(ctx context.Context, start time.Time, next *atomic.Int64) error {
	l := s.load
	for ctx.Err() == nil {
		i := next.Add(1) - 1
		due := start
		if l.Rate > 0 {
			due = start.Add(time.Duration(float64(i) / l.Rate * float64(time.Second)))
		}
		if i >= l.Count || time.Since(start) >= l.For || due.Sub(start) >= l.For {
			return nil
		}
		if !wait(ctx, time.Until(due)) {
			return nil
		}
		if err := s.deliver(ctx, l.First+i, due); err != nil {
			return err
		}
	}
	return nil
}

// deliver sends one delivery, with Persist until it is acknowledged.
func (s *sender) deliver(ctx context.Context, n int64, due time.Time) error {
	hook := s.load.Hooks[int(n%int64(len(s.load.Hooks)))]
	for {
		sent := time.Now()
		status, err := s.send(ctx, hook, n)
		answered := time.Now()
		if ctx.Err() != nil {
			return nil //nolint:nilerr // ended from outside: what became of this one is unknown
		}
		switch {
		case err != nil:
			s.close()
			s.broken++
			if !s.load.Persist {
				return fmt.Errorf("delivery %d: %w", n, err)
			}
		case ok(status):
			s.statuses[status]++
			if s.load.Rate > 0 {
				sent = due
			}
			s.latencies = append(s.latencies, answered.Sub(sent))
			if s.load.Acknowledged != nil {
				s.load.Acknowledged(n, sent, answered)
			}
			return nil
		default:
			s.statuses[status]++
			if !s.load.Persist {
				return nil
			}
			if status != 429 && status != 503 {
				return fmt.Errorf("delivery %d: answered with status %d", n, status)
			}
		}
		s.next()
		if !wait(ctx, cmp.Or(s.load.Pause, 20*time.Millisecond)) {
			return nil
		}
	}
}

// sendTimeout is longer than any answer should take.
const sendTimeout = 30 * time.Second

// send writes one request and reads its answer.
func (s *sender) send(ctx context.Context, hook *Hook, n int64) (status int, err error) {
	if s.conn == nil {
		if s.conn, err = s.dial(ctx, hook); err != nil {
			s.conn = nil
			return 0, err
		}
		s.r = bufio.NewReader(s.conn)
	}
	conn := s.conn
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if err := conn.SetDeadline(time.Now().Add(sendTimeout)); err != nil {
		return 0, err
	}
	req := hook.requests[int(n%int64(len(hook.requests)))]
	s.id = appendDeliveryID(s.id[:0], n)
	buffers := net.Buffers{req.head, s.id, req.tail}
	if _, err := buffers.WriteTo(conn); err != nil {
		return 0, err
	}
	return s.answer()
}

func (s *sender) dial(ctx context.Context, hook *Hook) (net.Conn, error) {
	plain := &net.Dialer{Timeout: sendTimeout}
	host := hook.host
	if hosts := s.load.Hosts; len(hosts) > 0 {
		host = hosts[s.turn%len(hosts)]
	}
	if !hook.tls {
		return plain.DialContext(ctx, "tcp", host)
	}
	d := tls.Dialer{NetDialer: plain, Config: &tls.Config{RootCAs: s.load.RootCAs}}
	return d.DialContext(ctx, "tcp", host)
}

// answer reads an HTTP/1.1 response with a Content-Length and throws its body away.
func (s *sender) answer() (status int, err error) {
	line, err := s.r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, fmt.Errorf("not an HTTP/1.1 answer: %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, fmt.Errorf("status of the answer: %w", err)
	}
	length, keep := -1, true
	for {
		if line, err = s.r.ReadSlice('\n'); err != nil {
			return 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, fmt.Errorf("length of the answer: %w", err)
			}
		case bytes.EqualFold(name, []byte("Connection")):
			keep = !bytes.EqualFold(value, []byte("close"))
		}
	}
	if length < 0 {
		return 0, errors.New("the answer has no Content-Length")
	}
	if _, err := io.CopyN(io.Discard, s.r, int64(length)); err != nil {
		return 0, err
	}
	if !keep || s.fresh {
		s.close()
	}
	return status, nil
}

// wait returns true after d, false once ctx ends.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
