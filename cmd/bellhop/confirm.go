package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

const (
	// askAgain is the time between two questions to the API.
	askAgain = 100 * time.Millisecond
	// rememberedWithin bounds how long a request that made no event is looked for: the replica that answered
	// remembers it a moment after its answer, and any other never does.
	rememberedWithin = 2 * time.Second
)

// sent is a request that was answered 2xx.
type sent struct {
	source   string
	delivery string // empty where the source has no header for it
	bytes    int    // of the payload
	answer   []byte
}

// confirm asks the API what became of the request, and returns it as a line.
func (s *sent) confirm(ctx context.Context, a *api, wait time.Duration) (string, error) {
	var said struct {
		ID     string `json:"id"`
		Result string `json:"result"`
	}
	if json.Unmarshal(s.answer, &said) != nil || said.Result == "" {
		return "", errors.New("the answer is not a receiver's, so there is nothing to confirm: `bellhop urls` prints where to post")
	}
	if said.ID == "" {
		return s.remembered(ctx, a, said.Result, min(wait, rememberedWithin))
	}
	return stored(ctx, a, said.ID, wait)
}

// stored waits until the event is in the queue.
func stored(ctx context.Context, a *api, id string, wait time.Duration) (string, error) {
	var e bellhop.Event
	found, err := within(ctx, wait, func() (bool, error) {
		err := a.get(ctx, "/api/v1/events/"+url.PathEscape(id), nil, &e)
		// A replica may learn of it later, and an engine may be away for a moment.
		if r, ok := errors.AsType[*refusal](err); ok && (r.status == http.StatusNotFound || r.status == http.StatusServiceUnavailable) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return "", err
	}
	if !found {
		return "", fmt.Errorf("event %s is not at %s after %v: is that the admin address of the process that answered? `bellhop events` lists what it keeps", id, a.server, wait)
	}
	var l list[*bellhop.Delivery]
	if err := a.get(ctx, "/api/v1/deliveries", url.Values{"event": {id}, "limit": {"1000"}}, &l); err != nil {
		return "", err
	}
	states := make([]string, len(l.Items))
	for i, d := range l.Items {
		states[i] = d.Provider + " " + string(d.State)
	}
	return fmt.Sprintf("event %s of %s is stored (%s), %s: %s", e.ID, e.Endpoint, e.Kind, plural(len(states), "delivery"), strings.Join(states, ", ")), nil
}

// remembered looks for a request that made no event among the last ones.
func (s *sent) remembered(ctx context.Context, a *api, result string, wait time.Duration) (string, error) {
	type request struct {
		Source     string `json:"source"`
		Endpoint   string `json:"endpoint"`
		Result     string `json:"result"`
		Reason     string `json:"reason"`
		DeliveryID string `json:"deliveryId"`
		Bytes      int    `json:"bytes"`
	}
	var r request
	found, err := within(ctx, wait, func() (bool, error) {
		var l list[request]
		if err := a.get(ctx, "/api/v1/requests", url.Values{"limit": {"1000"}}, &l); err != nil {
			return false, err
		}
		i := slices.IndexFunc(l.Items, func(r request) bool {
			return r.Source == s.source && r.Result == result && r.Bytes == s.bytes &&
				(r.DeliveryID == s.delivery || r.DeliveryID == "" || s.delivery == "")
		})
		if i < 0 {
			return false, nil
		}
		r = l.Items[i]
		return true, nil
	})
	switch {
	case err != nil:
		return "", err
	case !found:
		return fmt.Sprintf("%s, no event; not among the last requests at %s, another replica may have answered", result, a.server), nil
	}
	return fmt.Sprintf("%s at %s (%s), no event", result, r.Endpoint, r.Reason), nil
}

// within asks again and again until something is found, asking fails, or the time is over. A question that was put in
// time gets its answer: what is slow is not taken for what is not there.
func within(ctx context.Context, wait time.Duration, ask func() (found bool, err error)) (bool, error) {
	over := time.After(wait)
	tick := time.NewTicker(askAgain)
	defer tick.Stop()
	for {
		if found, err := ask(); found || err != nil {
			return found, err
		}
		select {
		case <-tick.C:
		case <-over:
			return false, nil
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}
