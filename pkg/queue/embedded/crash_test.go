package embedded

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/queuetest"
)

// TestCrash kills a process under load; BELLHOP_CRASH_ROUNDS says how often (20).
func TestCrash(t *testing.T) {
	t.Parallel()
	rounds := 20
	if testing.Short() {
		rounds = 3
	}
	if s := os.Getenv("BELLHOP_CRASH_ROUNDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("BELLHOP_CRASH_ROUNDS: %v", err)
		}
		rounds = n
	}
	counts := queuetest.Crash(t, t.TempDir(), openForCrash, rounds)
	t.Logf("%d rounds: %+v", rounds, counts)
}

// TestPauseSurvivesACrash loses all that is not synced when Pause returns.
func TestPauseSurvivesACrash(t *testing.T) {
	t.Parallel()
	c := newClock()
	fs := vfs.NewCrashableMem()
	for _, until := range []time.Time{c.now().Add(time.Hour).UTC(), {}} { // paused, and lifted
		q := openMem(t, fs, c, bellhop.Size(-1))
		if err := q.Pause(t.Context(), "p", until); err != nil {
			t.Fatal(err)
		}
		fs = fs.CrashClone(vfs.CrashCloneCfg{})
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		q = openMem(t, fs, c, bellhop.Size(-1))
		if s, err := q.Stats(t.Context(), "p"); err != nil || !s.PausedUntil.Equal(until) {
			t.Errorf("paused until %v, %v, want %v", s.PausedUntil, err, until)
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
