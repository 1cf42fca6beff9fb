package record

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestPack(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 100<<10)
	random := rand.NewChaCha8([32]byte{})
	_, _ = random.Read(noise)
	text := strings.Repeat(`{"url":"https://api.github.com/repos/octo/repo"},`, 30_000)
	var buf []byte
	for name, tc := range map[string]struct {
		body   []byte
		packed bool
	}{
		"nothing":       {nil, false},
		"short":         {[]byte(text[:minPacked-1]), false},
		"text":          {[]byte(text[:minPacked]), true},
		"long text":     {[]byte(text), true},
		"noise":         {noise, false},
		"noise in text": {append(noise[:1000:1000], text[:1000]...), true},
	} {
		stored, plain := Pack(&buf, tc.body)
		if (plain != 0) != tc.packed || tc.packed && (int(plain) != len(tc.body) || len(stored) >= len(tc.body)) {
			t.Errorf("%s: %d bytes are stored as %d, plain %d", name, len(tc.body), len(stored), plain)
		}
		got, err := Unpack(stored, plain)
		if err != nil || !bytes.Equal(got, tc.body) {
			t.Errorf("%s: came back otherwise: %v", name, err)
		}
		if tc.packed {
			for _, damaged := range [][]byte{stored[:len(stored)-1], stored[1:], {}, {0xff, 0xff, 0xff, 0xff, 0x7f}} {
				if _, err := Unpack(damaged, plain); err == nil {
					t.Errorf("%s: damage is not found", name)
				}
			}
			if _, err := Unpack(stored, plain+1); err == nil {
				t.Errorf("%s: a wrong size is not found", name)
			}
		}
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add([]byte("\x03\x08abc"), int64(3))
	f.Fuzz(func(t *testing.T, stored []byte, plain int64) {
		if plain > 1<<20 {
			return // it would be allocated
		}
		if body, err := Unpack(stored, plain); err == nil && plain != 0 && int64(len(body)) != plain {
			t.Fatalf("%d bytes of %d", len(body), plain)
		}
	})
}
