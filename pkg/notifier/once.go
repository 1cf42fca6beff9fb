package notifier

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// How long it is remembered what was sent.
const (
	// stateMemory is how long a state counts as set at the vendor. Nobody looks at commits that are older.
	stateMemory = 30 * 24 * time.Hour
	// duplicateWindow is how long the same event of Flux is not sent again, as with its notification-controller.
	duplicateWindow = 5 * time.Minute
	// duplicatesKept bounds what is remembered of one object.
	duplicatesKept = 32
)

// memory is what bears on whether a message is sent at all: what was sent before on the same subject.
type memory struct {
	// subject is what is locked while a message on it is sent, and what the memo is kept under. Empty: the
	// message has none, and is sent.
	subject string
	// judge compares the message with the memo of the last one, if there is one.
	judge func(last bellhop.Memo, known bool) finding
}

// finding is what follows from what was sent before.
type finding struct {
	// note says why the message is not sent; empty if it is.
	note string
	// final: not even if somebody asks for it by hand.
	final bool
	// memo is what is left once the delivery is accepted, sent or not; without an Event the old one stays.
	memo bellhop.Memo
}

// memoryOf is what a provider remembers for an event: the state that it would set, or, for any other provider,
// that the same event of Flux was sent.
func memoryOf(p bellhop.Provider, e *bellhop.Event) memory {
	if s, ok := p.(bellhop.Stateful); ok {
		if state := s.State(e); state.Subject != "" {
			return stateMemoryOf(state, e)
		}
	}
	if e.Kind == bellhop.KindFlux && e.InvolvedObject.Name != "" {
		return fluxMemoryOf(e)
	}
	return memory{}
}

// stateMemoryOf: only what changes a state is sent, and nothing older than what was.
func stateMemoryOf(s bellhop.State, e *bellhop.Event) memory {
	now := bellhop.Memo{Value: digest(scrub(s.Value)), Event: e.ID, Time: s.Time, Expires: time.Now().Add(stateMemory)}
	return memory{
		subject: "state " + digest(s.Subject),
		judge: func(last bellhop.Memo, known bool) finding {
			switch {
			case !known || last.Event == e.ID:
				return finding{memo: now}
			case last.Time.After(s.Time), last.Time.Equal(s.Time) && last.Event > e.ID:
				return finding{note: "not sent: the newer event " + last.Event + " was first", final: true}
			case last.Value == now.Value:
				return finding{note: "not sent: event " + last.Event + " had said the same", memo: now}
			}
			return finding{memo: now}
		},
	}
}

// fluxMemoryOf: controllers say the same at each of their rounds. What was said of an object is forgotten when
// it turns from good to bad or back, since the same words are news then.
func fluxMemoryOf(e *bellhop.Event) memory {
	o := e.InvolvedObject
	said := digest(append(revisions(e.Metadata), e.Reason, scrub(e.Message))...)
	now := time.Now()
	return memory{
		subject: "flux " + digest(o.APIVersion, o.Kind, o.Namespace, o.Name),
		judge: func(last bellhop.Memo, _ bool) finding {
			// The severity, then what was said under it, newest first: its digest, when, and the event.
			severity := string(e.Severity)
			kept := []string{severity, said + " " + strconv.FormatInt(now.UnixNano(), 10) + " " + e.ID}
			lines := strings.Split(last.Value, "\n")
			for _, line := range lines[1:] {
				f := strings.Fields(line)
				if lines[0] != severity || len(f) != 3 || len(kept) > duplicatesKept {
					break
				}
				if at, err := strconv.ParseInt(f[1], 10, 64); err != nil || now.Sub(time.Unix(0, at)) >= duplicateWindow {
					break
				}
				switch {
				case f[0] != said:
					kept = append(kept, line)
				case f[2] != e.ID:
					return finding{note: "not sent: event " + f[2] + " had said the same less than " + duplicateWindow.String() + " before"}
				}
			}
			return finding{memo: bellhop.Memo{
				Value: strings.Join(kept, "\n"), Event: e.ID, Time: e.Time, Expires: now.Add(duplicateWindow),
			}}
		},
	}
}

// revisions are those in a Flux event's metadata, whatever the keys' prefixes, in a fixed order.
func revisions(metadata map[string]string) []string {
	var rs []string
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		switch key[strings.LastIndexByte(key, '/')+1:] {
		case "revision", "originRevision", "token":
			rs = append(rs, key+"="+metadata[key])
		}
	}
	return rs
}

// volatile is what differs between messages that say the same: times, durations, ids of requests and other
// things, the ports of connections.
var volatile = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?` +
	`|\b(?:\d+(?:\.\d+)?(?:h|ms|m|s|µs|us|ns))+\b` +
	`|\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b` +
	`|\b0x[0-9a-fA-F]+\b` +
	`|(?i:\brequest[ -]?id)[:=]? ?"?[0-9A-Za-z+/=_-]+` +
	`|:\d{4,5}\b`)

func scrub(message string) string { return volatile.ReplaceAllString(message, "~") }

// digest is a key of fixed size for texts of any.
func digest(texts ...string) string {
	h := sha256.New()
	for _, t := range texts {
		_, _ = fmt.Fprintf(h, "%d:%s", len(t), t)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// subjects are what messages are being sent on, so that two on the same follow each other.
type subjects struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed when let go
}

// hold waits until the subject is free. It returns ctx's error when ctx ends first.
func (s *subjects) hold(ctx context.Context, subject string) (release func(), err error) {
	for {
		s.mu.Lock()
		busy, ok := s.held[subject]
		if !ok {
			if s.held == nil {
				s.held = map[string]chan struct{}{}
			}
			free := make(chan struct{})
			s.held[subject] = free
			s.mu.Unlock()
			return func() {
				s.mu.Lock()
				delete(s.held, subject)
				s.mu.Unlock()
				close(free)
			}, nil
		}
		s.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
