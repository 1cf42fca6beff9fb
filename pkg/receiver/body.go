package receiver

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
)

var (
	errTooLarge = errors.New("body over the limit")
	errNoMemory = errors.New("too many bodies in flight")
)

// budget bounds the bytes that all bodies in flight take together. Bytes count as they arrive: who only
// announces a large body takes nothing.
type budget struct {
	left atomic.Int64
}

func newBudget(bytes int64) *budget {
	b := &budget{}
	b.left.Store(bytes)
	return b
}

func (b *budget) take(n int64) bool {
	if b.left.Add(-n) < 0 {
		b.left.Add(n)
		return false
	}
	return true
}

const (
	smallBody = 16 << 10
	pooled    = 64 << 10 // larger buffers go back to the garbage collector
)

// buffer is a body with its claim on the budget.
type buffer struct {
	b     []byte
	owner *budget
	held  int64
}

var buffers = sync.Pool{New: func() any { return &buffer{b: make([]byte, 0, smallBody)} }}

func (b *buffer) bytes() []byte { return b.b }

// free ends the body's life; nobody may point into it any more.
func (b *buffer) free() {
	b.owner.left.Add(b.held)
	b.owner, b.held = nil, 0
	if cap(b.b) <= pooled {
		b.b = b.b[:0]
		buffers.Put(b)
	}
}

// read reads a body of the announced length (-1: unknown) up to limit bytes. errTooLarge, errNoMemory or the
// connection's error otherwise.
func (b *budget) read(r io.Reader, length, limit int64) (*buffer, error) {
	if length > limit {
		return nil, errTooLarge
	}
	buf := buffers.Get().(*buffer)
	buf.owner = b
	if err := buf.fill(r, length, limit); err != nil {
		buf.free()
		return nil, err
	}
	return buf, nil
}

func (b *buffer) fill(r io.Reader, length, limit int64) error {
	if !b.claim(int64(cap(b.b))) {
		return errNoMemory
	}
	for {
		if int64(len(b.b)) == length {
			return nil // announced and arrived: no read more for the end
		}
		if len(b.b) == cap(b.b) {
			if err := b.grow(length, limit); err != nil {
				return err
			}
		}
		n, err := r.Read(b.b[len(b.b):cap(b.b)])
		b.b = b.b[:len(b.b)+n]
		switch {
		case int64(len(b.b)) > limit:
			return errTooLarge
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// grow doubles the buffer, but never beyond what may still come.
func (b *buffer) grow(length, limit int64) error {
	size := min(2*int64(cap(b.b)), limit+1)
	if length > 0 {
		size = min(size, length)
	}
	size = max(size, int64(len(b.b))+1)
	if !b.claim(size - b.held) {
		return errNoMemory
	}
	larger := make([]byte, len(b.b), size)
	copy(larger, b.b)
	b.b = larger
	return nil
}

func (b *buffer) claim(n int64) bool {
	if n > 0 && !b.owner.take(n) {
		return false
	}
	b.held += n
	return true
}
