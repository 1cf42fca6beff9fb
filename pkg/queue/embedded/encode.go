package embedded

import (
	"encoding/binary"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/internal/record"
)

// inlineBody is the largest body that is stored in one value with its event. One value is cheaper than two,
// and together they are large enough for Pebble to keep them out of its compactions (separatedSize); but a
// list of events reads the values whole.
const inlineBody = 32 << 10

// appendFresh appends the short record of a delivery that was never tried; every other record begins with
// format1 too, but fresh ones are in a space of their own.
func appendFresh(b []byte, accepted, size int64, route string) []byte {
	b = append(b, record.Format1)
	b = appendTime(b, accepted)
	b = binary.AppendUvarint(b, uint64(size))
	return append(b, route...)
}

func freshLen(size int64, route string) int {
	var buf [binary.MaxVarintLen64]byte
	return 1 + timeLen + binary.PutUvarint(buf[:], uint64(size)) + len(route)
}

func decodeFresh(v []byte) (record.Delivery, error) {
	if len(v) < 1+timeLen+1 || v[0] != record.Format1 {
		return record.Delivery{}, record.ErrDamaged
	}
	accepted := int64(binary.BigEndian.Uint64(v[1:]))
	v = v[1+timeLen:]
	size, n := binary.Uvarint(v)
	if n <= 0 || accepted < 0 || int64(size) < 0 {
		return record.Delivery{}, record.ErrDamaged
	}
	return record.Delivery{
		Route: string(v[n:]), Accepted: accepted, Started: accepted, Due: accepted, Since: accepted, Size: int64(size),
	}, nil
}

// stateOf is the state of a delivery in a space.
func stateOf(space byte) bellhop.DeliveryState {
	switch space {
	case spaceDone:
		return bellhop.Delivered
	case spaceDead:
		return bellhop.Dead
	default:
		return bellhop.Waiting
	}
}

// spaceOf is the space of a delivery in a state, once it was tried.
func spaceOf(state bellhop.DeliveryState) byte {
	switch state {
	case bellhop.Delivered:
		return spaceDone
	case bellhop.Dead:
		return spaceDead
	default:
		return spaceAgain
	}
}

// keyRecord is the value of a duplicate key.
func appendKeyRecord(b []byte, expires int64, ids []string) []byte {
	b = append(b, record.Format1)
	b = appendTime(b, expires)
	for _, id := range ids {
		b = binary.AppendUvarint(b, uint64(len(id)))
		b = append(b, id...)
	}
	return b
}

func decodeKeyRecord(v []byte) (expires int64, ids []string, err error) {
	if len(v) < 1+timeLen || v[0] != record.Format1 {
		return 0, nil, record.ErrDamaged
	}
	expires = int64(binary.BigEndian.Uint64(v[1:]))
	for v = v[1+timeLen:]; len(v) > 0; {
		n, m := binary.Uvarint(v)
		if m <= 0 || n > uint64(len(v)-m) {
			return 0, nil, record.ErrDamaged
		}
		ids = append(ids, string(v[m:m+int(n)]))
		v = v[m+int(n):]
	}
	return expires, ids, nil
}

func decodePause(v []byte) (until int64, err error) {
	if len(v) != 1+timeLen || v[0] != record.Format1 {
		return 0, record.ErrDamaged
	}
	until, _ = timeOf(v[1:])
	return until, nil
}
