package embedded

import (
	"context"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/queuetest"
)

func TestMain(m *testing.M) {
	if queuetest.CrashChild(openForCrash) {
		return
	}
	if os.Getenv(brokenEnv) != "" { // it leaves goroutines behind
		os.Exit(m.Run())
	}
	goleak.VerifyTestMain(m)
}

func openForCrash(dir string) (bellhop.Queue, error) {
	return Open(context.Background(), dir, Options{})
}

// engine is a directory with a clock that can be put forward.
type engine struct {
	dir    string
	offset atomic.Int64
	o      Options
}

func (e *engine) Open(t testing.TB) bellhop.Queue {
	t.Helper()
	o := e.o
	o.Now = func() time.Time { return time.Now().Add(time.Duration(e.offset.Load())) }
	q, err := Open(t.Context(), e.dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// Expire goes to a time when history is over, and back: deliveries that wait stay due as they were.
func (e *engine) Expire(t testing.TB, q bellhop.Queue) {
	t.Helper()
	e.offset.Add(int64(2 * DefaultRetentionAge))
	defer e.offset.Add(-int64(2 * DefaultRetentionAge))
	if err := q.(*Queue).sweep(); err != nil {
		t.Fatal(err)
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	queuetest.Run(t, func(t *testing.T) queuetest.Engine { return &engine{dir: t.TempDir()} })
}
