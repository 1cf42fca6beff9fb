package embedded

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bellhop-dev/bellhop/pkg/queue/internal/record"
)

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	for name, decode := range map[string]func([]byte) error{
		"fresh":   func(b []byte) error { _, err := decodeFresh(b); return err },
		"key":     func(b []byte) error { _, _, err := decodeKeyRecord(b); return err },
		"segment": func(b []byte) error { _, _, err := decodeSegment("", b); return err },
	} {
		for _, damaged := range [][]byte{nil, {}, {0}, {99}, {record.Format1, 1}, {record.Format1, 200}, {2, 0, 0, 0, 0, 0, 0, 0, 0, 1}} {
			if err := decode(damaged); !errors.Is(err, record.ErrDamaged) {
				t.Errorf("%s: %v of % x, want ErrDamaged", name, err, damaged)
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(appendFresh(nil, 1, 2, "r"))
	f.Add(appendKeyRecord(nil, 5, []string{"a", "b"}))
	f.Add(appendSegment(nil, &segment{bytes: 1, began: 2, newest: 3}, "end"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := decodeFresh(b); err == nil {
			if got, err := decodeFresh(appendFresh(nil, d.Accepted, d.Size, d.Route)); err != nil || !cmp.Equal(d, got) {
				t.Fatalf("%+v became %+v, %v", d, got, err)
			}
		}
		_, _, _ = decodeKeyRecord(b)
		_, _, _ = decodeSegment("", b)
	})
}
