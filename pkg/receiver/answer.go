package receiver

import (
	"net/http"
	"strconv"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Result is the outcome of a request in one word, part of the outside contract.
type Result string

// The results, and the statuses they come with.
const (
	Accepted    Result = "accepted"    // 202: verified and durable
	Filtered    Result = "filtered"    // 200: verified, but nothing here wants it
	Duplicate   Result = "duplicate"   // 200: seen before; the id is the first event's
	Pong        Result = "pong"        // 200: the sender tests the hook
	Rejected    Result = "rejected"    // 400, 401, 404, 405, 408, 413, 429: the reason says why
	Unavailable Result = "unavailable" // 503: come back later; the reason says why
)

// answer is what the sender gets: nothing secret, nothing internal.
type answer struct {
	IDs        []string // of the events; the first is the answer's id
	Result     Result
	Reason     string
	Deliveries int

	status     int
	retryAfter time.Duration
	header     [][2]string // more of it
}

var jsonType = []string{"application/json"}

func done(result Result, reason string) answer {
	return answer{status: http.StatusOK, Result: result, Reason: reason}
}

// allowed lets a sender post that asks first.
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/http-webhook.md#42-validation-response
func allowed(origin string, limit bellhop.Rate) answer {
	a := done(Pong, "handshake")
	perMinute := "*"
	if limit.Limited() {
		perMinute = strconv.Itoa(max(1, int(limit.PerSecond()*60)))
	}
	a.header = [][2]string{{"Allow", "POST, OPTIONS"}, {"WebHook-Allowed-Origin", origin}, {"WebHook-Allowed-Rate", perMinute}}
	return a
}

func rejected(status int, reason string) answer {
	return answer{status: status, Result: Rejected, Reason: reason}
}

func unavailable(reason string, retryAfter time.Duration) answer {
	return answer{status: http.StatusServiceUnavailable, Result: Unavailable, Reason: reason, retryAfter: retryAfter}
}

func (a *answer) write(w http.ResponseWriter) {
	h := w.Header()
	h["Content-Type"] = jsonType
	if a.status == http.StatusMethodNotAllowed {
		h.Set("Allow", http.MethodPost)
	}
	for _, field := range a.header {
		h.Set(field[0], field[1])
	}
	if a.retryAfter > 0 {
		seconds := int64((a.retryAfter + time.Second - 1) / time.Second)
		h.Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
	w.WriteHeader(a.status)
	// The sender may be gone; what it sent is stored all the same.
	_, _ = w.Write(a.json())
}

// json is the answer's body. Its texts are ids and words of this program, which need no escaping.
func (a *answer) json() []byte {
	b := make([]byte, 0, 128+32*len(a.IDs))
	b = append(b, '{')
	if len(a.IDs) > 0 {
		b = append(b, `"id":"`...)
		b = append(b, a.IDs[0]...)
		b = append(b, `",`...)
	}
	if len(a.IDs) > 1 {
		b = append(b, `"ids":["`...)
		for i, id := range a.IDs {
			if i > 0 {
				b = append(b, `","`...)
			}
			b = append(b, id...)
		}
		b = append(b, `"],`...)
	}
	b = append(b, `"result":"`...)
	b = append(b, a.Result...)
	b = append(b, `","reason":"`...)
	b = append(b, a.Reason...)
	b = append(b, `","deliveries":`...)
	b = strconv.AppendInt(b, int64(a.Deliveries), 10)
	return append(b, '}', '\n')
}
