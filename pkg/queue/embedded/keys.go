package embedded

import (
	"bytes"
	"encoding/binary"
)

// The key spaces, by their first byte. EVENT and NAME stand for the texts themselves, TIME for eight bytes of
// big-endian nanoseconds since 1970, 0 for a zero byte, which neither an id nor a name may hold.
//
//	e EVENT               the event, with its body unless that is large
//	b EVENT               a large body
//	q NAME 0 EVENT        a delivery that waits and was never tried
//	r NAME 0 EVENT        a delivery that waits again: after an attempt, a retry by hand, a replay
//	x NAME 0 EVENT        a dead delivery
//	h NAME 0 EVENT        a delivery that was accepted: history
//	t NAME 0 TIME EVENT   when a delivery of space r is due; no value
//	a NAME 0 TIME EVENT   when a delivery of space r began to count; no value
//	u NAME                until when the provider pauses
//	k KEY                 a duplicate key: its expiry and the events' ids
//	o TIME KEY            when a duplicate key expires; no value
//	m NAME 0 KEY          a memo of a provider
//	n TIME NAME 0 KEY     when a memo expires; no value
//	i                     the store's id
//	s EVENT               a sealed segment of the history, by its first event
//
// A delivery is in exactly one of q, r, x, h. A Put writes one small key a target (q), so that fanning out is
// cheap; the others are written when there is something to tell.
const (
	spaceEvent   = 'e'
	spaceBody    = 'b'
	spaceFresh   = 'q'
	spaceAgain   = 'r'
	spaceDead    = 'x'
	spaceDone    = 'h'
	spaceDue     = 't'
	spaceBegun   = 'a'
	spacePause   = 'u'
	spaceKey     = 'k'
	spaceExpiry  = 'o'
	spaceMemo    = 'm'
	spaceID      = 'i'
	spaceSegment = 's'

	spaceMemoExpiry = 'n'
)

// timeLen is the length of TIME in a key.
const timeLen = 8

// deliverySpaces are the spaces that hold deliveries, waiting ones first.
var deliverySpaces = [...]byte{spaceFresh, spaceAgain, spaceDead, spaceDone}

func eventKey(space byte, id string) []byte {
	k := make([]byte, 0, 1+len(id))
	return append(append(k, space), id...)
}

// lanePrefix is what all keys of a provider in a space begin with.
func lanePrefix(space byte, provider string) []byte {
	k := make([]byte, 0, len(provider)+2+timeLen+32)
	return append(append(append(k, space), provider...), 0)
}

func laneKey(space byte, provider, pos string) []byte {
	return append(lanePrefix(space, provider), pos...)
}

// splitLaneKey is the inverse of laneKey.
func splitLaneKey(key []byte) (provider, pos []byte, ok bool) {
	if len(key) == 0 {
		return nil, nil, false
	}
	return bytes.Cut(key[1:], []byte{0})
}

// timed is the position of an event in a space ordered by time.
func timed(t int64, id string) string {
	b := make([]byte, 0, timeLen+len(id))
	return string(append(appendTime(b, t), id...))
}

// timeOf is the time that a position made by timed begins with.
func timeOf(pos []byte) (t int64, ok bool) {
	if len(pos) < timeLen {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(pos)), true
}

// appendTime appends TIME. Times before 1970 count as 1970.
func appendTime(b []byte, t int64) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(max(t, 0)))
}

// after is the first key behind all keys that begin with prefix.
func after(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
