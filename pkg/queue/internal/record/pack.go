package record

import (
	"bytes"
	"sync"

	"github.com/klauspost/compress/s2"
)

// Bodies are packed before they are stored. A webhook's JSON shrinks to about a third, and so does everything
// that comes after: the log and its fsync, memtables, tables, the time until the disk is full. Packing here
// and not in the store pays once, and in parallel.

const (
	minPacked = 256       // shorter bodies are not worth it
	keptPack  = 128 << 10 // larger buffers go back to the garbage collector
	maxPlain  = 1 << 30   // what claims to be larger is damaged
)

// Packs holds packed bodies while they are copied into a batch.
var Packs = sync.Pool{New: func() any { b := make([]byte, 0, 16<<10); return &b }}

// Pack returns the body as it is stored, and its size before if that is another. What it returns is good
// until buf is used again or body is.
func Pack(buf *[]byte, body []byte) (stored []byte, plain int64) {
	if len(body) < minPacked || len(body) > maxPlain {
		return body, 0
	}
	out := s2.Encode((*buf)[:cap(*buf)], body)
	if cap(out) > cap(*buf) && cap(out) <= keptPack {
		*buf = out
	}
	if len(out) > len(body)-len(body)/8 {
		return body, 0
	}
	return out, int64(len(body))
}

// Unpack returns a copy of the body that Pack stored.
func Unpack(stored []byte, plain int64) ([]byte, error) {
	if plain == 0 {
		return bytes.Clone(stored), nil
	}
	if n, err := s2.DecodedLen(stored); err != nil || int64(n) != plain || plain > maxPlain {
		return nil, ErrDamaged
	}
	body, err := s2.Decode(make([]byte, plain), stored)
	if err != nil {
		return nil, ErrDamaged
	}
	return body, nil
}
