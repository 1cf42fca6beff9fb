package queuetest

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"sync"
)

// GroupCommitLog is the least that can be done for durability: records appended to one file, one fsync for all
// that came while the one before was under way. It keeps no index, reads nothing back and is never shortened;
// benchmarks take it as the disk's limit.
type GroupCommitLog struct {
	f *os.File

	mu      sync.Mutex
	buf     []byte
	waiting []chan error
	closed  bool
	ready   chan struct{} // of capacity 1: there is something to write
	done    chan struct{}
}

// errLogClosed is returned by an Append after Close.
var errLogClosed = errors.New("appending: the log is closed")

// OpenGroupCommitLog creates the file, which must not exist.
func OpenGroupCommitLog(name string) (*GroupCommitLog, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	l := &GroupCommitLog{f: f, ready: make(chan struct{}, 1), done: make(chan struct{})}
	go l.run()
	return l, nil
}

// Append writes a record, length and checksum first, and returns once it is on disk. It keeps nothing of p.
func (l *GroupCommitLog) Append(p []byte) error {
	ch := make(chan error, 1)
	sum := crc32.ChecksumIEEE(p)
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return errLogClosed
	}
	l.buf = binary.LittleEndian.AppendUint32(l.buf, uint32(len(p)))
	l.buf = binary.LittleEndian.AppendUint32(l.buf, sum)
	l.buf = append(l.buf, p...)
	l.waiting = append(l.waiting, ch)
	l.mu.Unlock()
	select {
	case l.ready <- struct{}{}:
	default:
	}
	return <-ch
}

func (l *GroupCommitLog) run() {
	defer close(l.done)
	var buf []byte
	var waiting []chan error
	for range l.ready {
		l.mu.Lock()
		buf, l.buf = l.buf, buf[:0]
		waiting, l.waiting = l.waiting, waiting[:0]
		l.mu.Unlock()
		if len(waiting) == 0 {
			continue
		}
		_, err := l.f.Write(buf)
		if err == nil {
			err = syncData(l.f)
		}
		for _, ch := range waiting {
			ch <- err
		}
	}
}

// Close ends the log; what was appended is on disk.
func (l *GroupCommitLog) Close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	close(l.ready)
	<-l.done
	return l.f.Close()
}
