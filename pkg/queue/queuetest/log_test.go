package queuetest

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestGroupCommitLog(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "log")
	l, err := OpenGroupCommitLog(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenGroupCommitLog(name); err == nil {
		t.Fatal("a log that exists was opened anew")
	}
	const n = 500
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := l.Append(fmt.Appendf(nil, "record %d", i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(nil); err == nil {
		t.Error("appended after Close")
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for len(b) > 0 {
		size, sum := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
		record := b[8 : 8+size]
		if crc32.ChecksumIEEE(record) != sum {
			t.Fatalf("record %q has another checksum", record)
		}
		seen[string(record)] = true
		b = b[8+size:]
	}
	if len(seen) != n {
		t.Fatalf("%d different records, want %d", len(seen), n)
	}
}
