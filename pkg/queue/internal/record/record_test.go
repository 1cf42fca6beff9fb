package record

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
	event, err := AppendEvent(nil, queuetest.FullEvent(), 0, 0, 1, []bellhop.Target{{Provider: "p"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		whole  []byte
		decode func([]byte) error
	}{
		"event":    {event, func(b []byte) error { _, err := DecodeEvent(b); return err }},
		"delivery": {EncodeDelivery(&Delivery{Route: "r", Accepted: 1, Log: []bellhop.Attempt{{Error: "x"}}}), func(b []byte) error { _, err := DecodeDelivery(b); return err }},
		"memo":     {EncodeMemo(&bellhop.Memo{Value: "v", Event: "e"}), func(b []byte) error { _, err := DecodeMemo(b); return err }},
	} {
		for _, damaged := range [][]byte{nil, {}, {0}, {99}, {Format1, 1}, {Format1, 200}, {2, 0, 0, 0, 0, 0, 0, 0, 0, 1}} {
			if err := c.decode(damaged); !errors.Is(err, ErrDamaged) {
				t.Errorf("%s: %v of % x, want ErrDamaged", name, err, damaged)
			}
		}
		if err := c.decode(c.whole); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := c.decode(c.whole[:len(c.whole)-1]); err == nil {
			t.Errorf("%s: a record that lacks its last byte was read", name)
		}
	}
}

func TestDecodeSkipsUnknownFields(t *testing.T) {
	t.Parallel()
	record := EncodeDelivery(&Delivery{Route: "r", Accepted: 7})
	d, err := DecodeDelivery(AppendField(record, 4711, "from a later version"))
	if err != nil || d.Route != "r" || d.Accepted != 7 {
		t.Fatalf("got %+v, %v", d, err)
	}
}

func TestDeliveryRoundTrip(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	want := Delivery{
		Route: "r", Accepted: 1, Started: 2, Due: 3, Since: 4, Attempts: 5, Size: 6, Err: "\xff",
		Log: []bellhop.Attempt{{}, {Time: at, Took: -time.Second, Error: "e"}},
	}
	got, err := DecodeDelivery(EncodeDelivery(&want))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
}

func TestLongErrorsAreCut(t *testing.T) {
	t.Parallel()
	var d Delivery
	d.tried(time.Now(), 0, errors.New(strings.Repeat("é", maxError)))
	if len(d.Err) > maxError || !strings.HasPrefix(d.Err, "éé") || strings.ToValidUTF8(d.Err, "") != d.Err {
		t.Fatalf("kept %d bytes", len(d.Err))
	}
}

func FuzzDecodeEvent(f *testing.F) {
	seed, err := AppendEvent(nil, queuetest.FullEvent(), 3, 9, 1, []bellhop.Target{{Provider: "p", Route: "r"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(seed, "abc"...))
	f.Fuzz(func(t *testing.T, record []byte) {
		s, err := DecodeEvent(record)
		if err != nil {
			return
		}
		again, err := AppendEvent(nil, &s.Event, s.Size, s.Plain, s.Accepted, s.Targets)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeEvent(append(again, s.Inline...))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s, got, cmp.Comparer(bytes.Equal), cmpopts.EquateApproxTime(0)); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzDecodeDelivery(f *testing.F) {
	f.Add(EncodeDelivery(&Delivery{Route: "r", Accepted: 1, Log: []bellhop.Attempt{{Took: 1, Error: "x"}}}))
	f.Fuzz(func(t *testing.T, record []byte) {
		if d, err := DecodeDelivery(record); err == nil {
			if got, err := DecodeDelivery(EncodeDelivery(&d)); err != nil || !cmp.Equal(d, got) {
				t.Fatalf("%+v became %+v, %v", d, got, err)
			}
		}
		_, _ = DecodeMemo(record)
	})
}
