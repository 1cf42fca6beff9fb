package fluxreconcile

import (
	"strconv"
	"strings"
	"time"
)

// requestedAt is the annotation that Flux's controllers watch. They reconcile when it changes to anything else.
// https://fluxcd.io/flux/components/source/gitrepositories/#triggering-a-reconcile
const requestedAt = "reconcile.fluxcd.io/requestedAt"

// stamp is the annotation's value: the same for each attempt at an event, another for each event.
func stamp(received time.Time) string { return received.UTC().Format(time.RFC3339Nano) }

func annotationOf(object map[string]any) string {
	metadata, _ := object["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	value, _ := annotations[requestedAt].(string)
	return value
}

// requestedSince reports whether the annotation's value says that a reconciliation was requested when the
// event was received, or later. A value that is no time, or one of the future, says nothing.
func requestedSince(value string, received, now time.Time) bool {
	if value == stamp(received) {
		return true
	}
	at, ok := parseStamp(value)
	return ok && !at.Before(received) && !at.After(now)
}

// parseStamp reads the annotation as its writers spell it: RFC 3339 (the flux command, Bellhop), a Go time in
// words (notification-controller), seconds since 1970 (Flux's documentation, by kubectl and date).
func parseStamp(value string) (time.Time, bool) {
	if at, err := time.Parse(time.RFC3339Nano, value); err == nil {
		return at, true
	}
	words, _, _ := strings.Cut(value, " m=")
	if at, err := time.Parse("2006-01-02 15:04:05.999999999 -0700 MST", words); err == nil {
		return at, true
	}
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
		return time.Unix(seconds, 0), true
	}
	return time.Time{}, false
}
