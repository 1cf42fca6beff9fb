package receiver

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
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
	Unavailable Result = "unavailable" // 503: come back later
)

// answer is what the sender gets: nothing secret, nothing internal.
type answer struct {
	ID         string   `json:"id,omitempty"`
	IDs        []string `json:"ids,omitempty"`
	Result     Result   `json:"result"`
	Reason     string   `json:"reason"`
	Deliveries int      `json:"deliveries"`

	status     int
	retryAfter time.Duration
}

func done(result Result, reason string) answer {
	return answer{status: http.StatusOK, Result: result, Reason: reason}
}

func rejected(status int, reason string) answer {
	return answer{status: status, Result: Rejected, Reason: reason}
}

func unavailable(reason string, retryAfter time.Duration) answer {
	return answer{status: http.StatusServiceUnavailable, Result: Unavailable, Reason: reason, retryAfter: retryAfter}
}

func (a *answer) write(w http.ResponseWriter) {
	if len(a.IDs) > 0 {
		a.ID = a.IDs[0]
	}
	if len(a.IDs) == 1 {
		a.IDs = nil
	}
	h := w.Header()
	h["Content-Type"] = []string{"application/json"}
	if a.status == http.StatusMethodNotAllowed {
		h.Set("Allow", http.MethodPost)
	}
	if a.retryAfter > 0 {
		seconds := int64((a.retryAfter + time.Second - 1) / time.Second)
		h.Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
	body, err := json.Marshal(a)
	if err != nil {
		panic(err) // strings and numbers only
	}
	w.WriteHeader(a.status)
	// The sender may be gone; what it sent is stored all the same.
	_, _ = w.Write(append(body, '\n'))
}
