package queuetest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// crashDir tells a test binary that it is the child of Crash.
const crashDir = "BELLHOP_QUEUETEST_CRASH_DIR"

// What the child tells, one word and an id a line.
const (
	toldAcknowledged = "A" // Put has returned
	toldDelivered    = "D" // the provider has it, and Settle(nil) follows
)

// CrashChild makes the test binary the child of Crash if it was started as such: it puts, takes and settles
// until it is killed. TestMain calls it first, and returns if it returns true.
func CrashChild(open func(dir string) (bellhop.Queue, error)) bool {
	dir := os.Getenv(crashDir)
	if dir == "" {
		return false
	}
	q, err := open(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ctx := context.Background()
	body := strings.Repeat("x", 2000)
	for i := range 4 {
		go func() {
			for {
				e := NewEvent(body[:rand.IntN(len(body))])
				to := targets("p")
				if i == 0 {
					to = targets("p", "q") // q is never taken
				}
				_, err := q.Put(ctx, &bellhop.Post{Key: e.ID, Window: time.Hour, Items: []bellhop.Item{{Event: e, To: to}}})
				tell(err, toldAcknowledged, e.ID)
			}
		}()
	}
	for {
		l, err := q.Take(ctx, "p")
		if err != nil {
			tell(err, "", "")
		}
		switch rand.IntN(8) {
		case 0:
			tell(l.Settle(ctx, bellhop.ErrStopping, bellhop.Outcome{}), "", "")
		case 1:
			tell(l.Settle(ctx, errDown, bellhop.Outcome{Due: time.Now().Add(time.Millisecond)}), "", "")
		default:
			tell(nil, toldDelivered, l.Delivery().Event)
			tell(l.Settle(ctx, nil, bellhop.Outcome{}), "", "")
		}
	}
}

// tell writes a line in one piece, or ends the child with an error.
func tell(err error, word, id string) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if word != "" {
		if _, err := fmt.Fprintf(os.Stdout, "%s %s\n", word, id); err != nil {
			os.Exit(1) // the parent has gone
		}
	}
}

// CrashCounts is what came of the rounds.
type CrashCounts struct {
	Acknowledged, Delivered, Duplicates, Lost int
}

// Crash starts the test binary as a child on a store in dir, kills it with SIGKILL under load, and so on for
// some rounds. After each, all that was acknowledged must be there, and in the end all of it is delivered. A
// delivery that was made and comes again is a duplicate, which a crash allows; a lost one fails the test.
func Crash(t *testing.T, dir string, open func(dir string) (bellhop.Queue, error), rounds int) CrashCounts {
	t.Helper()
	var counts CrashCounts
	acknowledged := make(map[string]bool)
	delivered := make(map[string]int)
	for round := range rounds {
		fresh := crashOnce(t, dir, 50+rand.IntN(1500), delivered)
		q := mustOpen(t, dir, open)
		for _, id := range fresh {
			acknowledged[id] = true
			if _, err := q.Event(context.Background(), id); err != nil {
				t.Errorf("round %d: acknowledged event: %v", round, err)
				counts.Lost++
			}
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	}

	q := mustOpen(t, dir, open)
	defer func() {
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if len(delivered) == 0 {
		t.Error("nothing was delivered before the last crash: the test shows little")
	}
	for {
		s, err := q.Stats(ctx, "p")
		if err != nil {
			t.Fatal(err)
		}
		if s.Depth == 0 {
			break
		}
		l, err := q.Take(ctx, "p")
		if err != nil {
			t.Fatal(err)
		}
		delivered[l.Delivery().Event]++
		if err := l.Settle(ctx, nil, bellhop.Outcome{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range delivered {
		counts.Duplicates += n - 1
	}
	for id := range acknowledged {
		if delivered[id] == 0 {
			t.Errorf("event %s was acknowledged and never delivered", id)
			counts.Lost++
		}
	}
	counts.Acknowledged, counts.Delivered = len(acknowledged), len(delivered)
	if counts.Acknowledged == 0 {
		t.Error("nothing was acknowledged: the test shows nothing")
	}
	return counts
}

func mustOpen(t *testing.T, dir string, open func(dir string) (bellhop.Queue, error)) bellhop.Queue {
	t.Helper()
	q, err := open(dir)
	if err != nil {
		t.Fatalf("opening after a crash: %v", err)
	}
	return q
}

// crashOnce runs a child and kills it once it has told of so many things.
func crashOnce(t *testing.T, dir string, lines int, delivered map[string]int) (acknowledged []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	scanner := bufio.NewScanner(out)
	for n := 0; scanner.Scan(); n++ {
		if n == lines {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		word, id, ok := strings.Cut(scanner.Text(), " ")
		if !ok || len(id) != 26 {
			continue // cut off by the kill
		}
		switch word {
		case toldAcknowledged:
			acknowledged = append(acknowledged, id)
		case toldDelivered:
			delivered[id]++
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Exited() {
		t.Fatalf("the child ended by itself: %v\n%s", err, stderr.String())
	}
	return acknowledged
}
