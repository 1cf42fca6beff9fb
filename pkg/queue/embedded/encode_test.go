package embedded

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/queuetest"
)

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	event, err := appendEvent(nil, queuetest.FullEvent(), 0, 0, 1, []bellhop.Target{{Provider: "p"}})
	if err != nil {
		t.Fatal(err)
	}
	dead := encodeDelivery(&delivery{route: "r", accepted: 1, log: []bellhop.Attempt{{Error: "x"}}})
	for name, decode := range map[string]func([]byte) error{
		"event":    func(b []byte) error { _, err := decodeEvent(b); return err },
		"delivery": func(b []byte) error { _, err := decodeDelivery(b); return err },
		"fresh":    func(b []byte) error { _, err := decodeFresh(b); return err },
		"key":      func(b []byte) error { _, _, err := decodeKeyRecord(b); return err },
		"segment":  func(b []byte) error { _, _, err := decodeSegment("", b); return err },
	} {
		whole := map[string][]byte{"event": event, "delivery": dead}[name]
		for _, record := range [][]byte{nil, {}, {0}, {99}, {format1, 1}, {format1, 200}, {2, 0, 0, 0, 0, 0, 0, 0, 0, 1}} {
			if err := decode(record); !errors.Is(err, errRecord) {
				t.Errorf("%s: %v of % x, want errRecord", name, err, record)
			}
		}
		if whole == nil {
			continue
		}
		if err := decode(whole); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := decode(whole[:len(whole)-1]); err == nil {
			t.Errorf("%s: a record that lacks its last byte was read", name)
		}
	}
}

func TestDecodeSkipsUnknownFields(t *testing.T) {
	t.Parallel()
	record := encodeDelivery(&delivery{route: "r", accepted: 7})
	d, err := decodeDelivery(appendField(record, 4711, "from a later version"))
	if err != nil || d.route != "r" || d.accepted != 7 {
		t.Fatalf("got %+v, %v", d, err)
	}
}

func TestDeliveryRoundTrip(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	want := delivery{
		route: "r", accepted: 1, started: 2, due: 3, since: 4, attempts: 5, size: 6, err: "\xff",
		log: []bellhop.Attempt{{}, {Time: at, Took: -time.Second, Error: "e"}},
	}
	got, err := decodeDelivery(encodeDelivery(&want))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(delivery{})); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
}

func TestLongErrorsAreCut(t *testing.T) {
	t.Parallel()
	var d delivery
	d.tried(time.Now(), 0, errors.New(strings.Repeat("é", maxError)))
	if len(d.err) > maxError || !strings.HasPrefix(d.err, "éé") || strings.ToValidUTF8(d.err, "") != d.err {
		t.Fatalf("kept %d bytes", len(d.err))
	}
}

func FuzzDecodeEvent(f *testing.F) {
	seed, err := appendEvent(nil, queuetest.FullEvent(), 3, 9, 1, []bellhop.Target{{Provider: "p", Route: "r"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(seed, "abc"...))
	f.Fuzz(func(t *testing.T, record []byte) {
		s, err := decodeEvent(record)
		if err != nil {
			return
		}
		again, err := appendEvent(nil, &s.event, s.size, s.plain, s.accepted, s.targets)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeEvent(append(again, s.inline...))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s, got, cmp.AllowUnexported(storedEvent{}), cmp.Comparer(bytes.Equal), cmpopts.EquateApproxTime(0)); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzDecodeDelivery(f *testing.F) {
	f.Add(encodeDelivery(&delivery{route: "r", accepted: 1, log: []bellhop.Attempt{{Took: 1, Error: "x"}}}))
	f.Add(appendFresh(nil, 1, 2, "r"))
	f.Add(appendKeyRecord(nil, 5, []string{"a", "b"}))
	f.Add(appendSegment(nil, &segment{bytes: 1, began: 2, newest: 3}, "end"))
	f.Fuzz(func(t *testing.T, record []byte) {
		if d, err := decodeDelivery(record); err == nil {
			if got, err := decodeDelivery(encodeDelivery(&d)); err != nil || !cmp.Equal(d, got, cmp.AllowUnexported(delivery{})) {
				t.Fatalf("%+v became %+v, %v", d, got, err)
			}
		}
		if d, err := decodeFresh(record); err == nil {
			if got, err := decodeFresh(appendFresh(nil, d.accepted, d.size, d.route)); err != nil || !cmp.Equal(d, got, cmp.AllowUnexported(delivery{})) {
				t.Fatalf("%+v became %+v, %v", d, got, err)
			}
		}
		_, _, _ = decodeKeyRecord(record)
		_, _, _ = decodeSegment("", record)
	})
}
