package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The client library reads one message at a time, and from whichever server answers first. Here are the
// requests that it lacks: a look at the leader, which knows all that was acknowledged, and lists.
// https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-31.md

// stored is a message of a stream.
type stored struct {
	Subject string      `json:"subject"`
	Seq     uint64      `json:"seq"`
	Data    []byte      `json:"data"`
	Header  nats.Header `json:"-"`
	Time    time.Time   `json:"time"`
}

var (
	// errNone is returned where a stream has no such message.
	errNone = errors.New("no such message")
	// errTooMany is returned where more subjects match than the server answers.
	errTooMany = errors.New("too many results")
)

// latest returns the last message of a subject, from the stream's leader.
func (q *Queue) latest(ctx context.Context, stream, subject string) (*stored, error) {
	return q.ask(ctx, stream, map[string]any{"last_by_subj": subject})
}

// at returns the message of a sequence, from the stream's leader.
func (q *Queue) at(ctx context.Context, stream string, seq uint64) (*stored, error) {
	return q.ask(ctx, stream, map[string]any{"seq": seq})
}

// remove deletes the message of a sequence, if it is there.
func (q *Queue) remove(ctx context.Context, stream string, seq uint64) error {
	return q.erase(ctx, "STREAM.MSG.DELETE.", stream, map[string]any{"seq": seq, "no_erase": true})
}

// purge deletes the messages of a subject, or those before a sequence.
func (q *Queue) purge(ctx context.Context, stream string, which map[string]any) error {
	return q.erase(ctx, "STREAM.PURGE.", stream, which)
}

func (q *Queue) erase(ctx context.Context, api, stream string, which map[string]any) error {
	var answer struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := q.call(ctx, api+stream, which, &answer); err != nil {
		return fmt.Errorf("deleting from stream %s: %w", stream, err)
	}
	if answer.Error != nil && answer.Error.ErrorCode != codeNoSuchSequence {
		return fmt.Errorf("deleting from stream %s: %w", stream, answer.Error)
	}
	return nil
}

// call makes a request of JetStream's API.
func (q *Queue) call(ctx context.Context, name string, request, answer any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	m, err := q.request(ctx, "$JS.API."+name, body)
	if err != nil {
		return err
	}
	return json.Unmarshal(m.Data, answer)
}

// request makes a request that does no harm when it is repeated: one that was on its way to a server, or to a leader, that
// went just then is never answered.
func (q *Queue) request(ctx context.Context, subject string, body []byte) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, q.o.patience)
	defer cancel()
	for wait := q.o.patience / 8; ; wait *= 2 { // or a slow server would never be waited for
		try, cancel := context.WithTimeout(ctx, wait)
		m, err := q.nc.RequestWithContext(try, subject, body)
		cancel()
		if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return m, err
		}
	}
}

func (q *Queue) ask(ctx context.Context, stream string, request map[string]any) (*stored, error) {
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message *stored             `json:"message"`
	}
	if err := q.call(ctx, "STREAM.MSG.GET."+stream, request, &answer); err != nil {
		return nil, fmt.Errorf("reading from stream %s: %w", stream, err)
	}
	switch {
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, errNone
	case answer.Error != nil:
		return nil, fmt.Errorf("reading from stream %s: %w", stream, answer.Error)
	case answer.Message == nil:
		return nil, fmt.Errorf("reading from stream %s: the answer has no message", stream)
	}
	return answer.Message, nil
}

// directRequest is a request for several messages.
type directRequest struct {
	Seq       uint64   `json:"seq,omitempty"`
	Batch     int      `json:"batch,omitempty"`
	NextFor   string   `json:"next_by_subj,omitempty"`
	MultiLast []string `json:"multi_last,omitempty"`
}

// maxSubjects is how many subjects are asked for at a time; the server answers with 1,024 messages at most.
const maxSubjects = 512

// list reads messages in the order of their sequences, from any server. It returns how many follow the last one.
func (q *Queue) list(ctx context.Context, stream string, r directRequest) (found []*stored, more uint64, err error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, q.o.patience)
	defer cancel()
	inbox := q.nc.NewRespInbox()
	sub, err := q.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, 0, fmt.Errorf("reading from stream %s: %w", stream, err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only with the connection
	if err := q.nc.PublishRequest("$JS.API.DIRECT.GET."+stream, inbox, body); err != nil {
		return nil, 0, fmt.Errorf("reading from stream %s: %w", stream, err)
	}
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return nil, 0, fmt.Errorf("reading from stream %s: %w", stream, err)
		}
		pending, _ := strconv.ParseUint(m.Header.Get("Nats-Num-Pending"), 10, 64)
		switch status := m.Header.Get("Status"); status {
		case "":
		case "204":
			return found, pending, nil
		case "404":
			return nil, 0, nil
		case "413":
			return nil, 0, errTooMany
		case "503":
			return nil, 0, fmt.Errorf("reading from stream %s: %w", stream, nats.ErrNoResponders)
		default:
			return nil, 0, fmt.Errorf("reading from stream %s: %s %s", stream, status, m.Header.Get("Description"))
		}
		found = append(found, answered(m))
	}
}

// answered is the message that answers a direct request.
func answered(m *nats.Msg) *stored {
	s := &stored{Subject: m.Header.Get("Nats-Subject"), Data: m.Data, Header: m.Header}
	s.Seq, _ = strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64)
	s.Time, _ = time.Parse(time.RFC3339Nano, m.Header.Get("Nats-Time-Stamp"))
	return s
}

// pages yields the messages behind a sequence whose subject matches, some at a time, until there are no more.
func (q *Queue) pages(ctx context.Context, stream, subject string, behind uint64, size int) iter.Seq2[[]*stored, error] {
	return func(yield func([]*stored, error) bool) {
		for {
			page, more, err := q.list(ctx, stream, directRequest{Seq: behind + 1, NextFor: subject, Batch: size})
			if err != nil {
				yield(nil, err)
				return
			}
			if len(page) == 0 || !yield(page, nil) || more == 0 {
				return
			}
			behind = page[len(page)-1].Seq
		}
	}
}

// listAll reads the last messages of all subjects, some at a time.
func (q *Queue) listAll(ctx context.Context, stream string, subjects []string) ([]*stored, error) {
	var all []*stored
	for n := maxSubjects; len(subjects) > 0; {
		n = min(n, len(subjects))
		found, _, err := q.list(ctx, stream, directRequest{MultiLast: subjects[:n]})
		if errors.Is(err, errTooMany) && n > 1 {
			n /= 2
			continue
		}
		if err != nil {
			return nil, err
		}
		all, subjects = append(all, found...), subjects[n:]
	}
	return all, nil
}

// next reads the first message behind a sequence whose subject matches, from any server; nil if there is none.
func (q *Queue) next(ctx context.Context, stream, subject string, behind uint64) (*stored, error) {
	body, err := json.Marshal(directRequest{Seq: behind + 1, NextFor: subject})
	if err != nil {
		return nil, err
	}
	m, err := q.request(ctx, "$JS.API.DIRECT.GET."+stream, body)
	if err != nil {
		return nil, fmt.Errorf("reading from stream %s: %w", stream, err)
	}
	switch status := m.Header.Get("Status"); status {
	case "":
		return answered(m), nil
	case "404":
		return nil, nil
	default:
		return nil, fmt.Errorf("reading from stream %s: %s %s", stream, status, m.Header.Get("Description"))
	}
}

// count returns how many messages behind a sequence have subjects that match, and the first of them.
func (q *Queue) count(ctx context.Context, stream, subject string, behind uint64) (n int64, first *stored, err error) {
	found, more, err := q.list(ctx, stream, directRequest{Seq: behind + 1, Batch: 1, NextFor: subject})
	if err != nil || len(found) == 0 {
		return 0, nil, err
	}
	return int64(more) + 1, found[0], nil
}
