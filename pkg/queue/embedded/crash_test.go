package embedded

import (
	"os"
	"strconv"
	"testing"

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
