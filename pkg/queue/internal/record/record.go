// Package record is what the engines of the queue have in common: the records of events, deliveries and memos,
// how a delivery changes by an attempt, and what names and posts they refuse.
package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Format1 is the byte that every value begins with: it names the format, so that formats can evolve; so far there is one. In
// it a record is a row of fields: tag, length, bytes (both numbers as uvarints). Empty fields are left out,
// unknown tags are skipped. JSON will not do: header values are bytes, and JSON keeps only valid UTF-8.
const Format1 = 1

// ErrDamaged is returned for what is no record, or one of a later version.
var ErrDamaged = errors.New("stored record is damaged or of a newer version of bellhop")

// Tags of an event's record. The texts of eventTexts follow from tagTexts on.
const (
	tagTime        = 1 // time.Time.MarshalBinary
	tagAccepted    = 2 // nanoseconds
	tagSize        = 3 // of the body as stored
	tagTarget      = 4 // provider, route
	tagHeader      = 5 // name, value
	tagMetadata    = 6
	tagField       = 7
	tagPullRequest = 8 // its number
	tagPlain       = 9 // size of the body before it was packed; left out if it is stored as it is
	tagTexts       = 32
)

// eventTexts are the event's texts in the order of their tags. Append only.
func eventTexts(e *bellhop.Event) [37]*string {
	return [...]*string{
		&e.ID, &e.Endpoint, &e.Source, &e.Type, &e.Action, &e.DeliveryID,
		(*string)(&e.Kind), (*string)(&e.Severity), &e.Reason, &e.Title, &e.Message, &e.Link,
		&e.Actor, &e.Repo.Name, &e.Repo.HTTPURL, &e.Repo.SSHURL, &e.Repo.WebURL,
		&e.Ref, &e.Branch, &e.Tag, &e.Before, &e.Commit,
		&e.Image.Name, &e.Image.Tag, &e.Image.Digest,
		&e.PullRequest.Title, &e.PullRequest.URL, &e.PullRequest.Head, &e.PullRequest.Base,
		&e.InvolvedObject.APIVersion, &e.InvolvedObject.Kind, &e.InvolvedObject.Namespace, &e.InvolvedObject.Name,
		&e.InvolvedObject.UID, &e.InvolvedObject.ResourceVersion,
		&e.ReportingController, &e.ReportingInstance,
	}
}

// Event is an event's record: the event without its body, and what the queue needs beside it.
type Event struct {
	Event    bellhop.Event
	Accepted int64
	Size     int64 // of the body as stored
	Plain    int64 // of the body as it was, 0 if it is stored so
	Targets  []bellhop.Target
	Inline   []byte // the body as stored, if it is stored here; it aliases the record
}

// eventHead is the format and the length of the fields, four bytes; the body may follow the fields.
const eventHead = 1 + 4

// AppendEvent appends the record of an event up to its body, of which it tells size and plain (see
// Event). The maps need no order: records are never compared.
func AppendEvent(b []byte, e *bellhop.Event, size, plain, accepted int64, targets []bellhop.Target) ([]byte, error) {
	begin := len(b)
	b = append(b, Format1, 0, 0, 0, 0)
	stamp, err := e.Time.MarshalBinary()
	if err != nil { // a zone with an offset that the format cannot hold
		if stamp, err = e.Time.UTC().MarshalBinary(); err != nil {
			return nil, fmt.Errorf("event %s: storing its time: %w", e.ID, err)
		}
	}
	b = AppendField(b, tagTime, stamp)
	b = AppendNumber(b, tagAccepted, accepted)
	b = AppendNumber(b, tagSize, size)
	b = AppendNumber(b, tagPlain, plain)
	b = AppendNumber(b, tagPullRequest, e.PullRequest.Number)
	for i, text := range eventTexts(e) {
		if *text != "" {
			b = AppendField(b, tagTexts+uint64(i), *text)
		}
	}
	for _, t := range targets {
		b = appendPair(b, tagTarget, t.Provider, t.Route)
	}
	b = appendMap(b, tagHeader, e.Headers)
	b = appendMap(b, tagMetadata, e.Metadata)
	if e.Fields != nil && len(e.Fields) == 0 {
		b = AppendField(b, tagField, "")
	}
	for _, f := range e.Fields {
		b = appendPair(b, tagField, f.Name, f.Value)
	}
	binary.BigEndian.PutUint32(b[begin+1:], uint32(len(b)-begin-eventHead))
	return b, nil
}

// DecodeEvent reads what AppendEvent wrote. The event's texts share one copy of the record.
func DecodeEvent(record []byte) (*Event, error) {
	if len(record) < eventHead || record[0] != Format1 {
		return nil, ErrDamaged
	}
	fields, n := record[eventHead:], binary.BigEndian.Uint32(record[1:])
	if uint64(n) > uint64(len(fields)) {
		return nil, ErrDamaged
	}
	s := &Event{Inline: fields[n:]}
	texts := eventTexts(&s.Event)
	err := EachField(fields[:n], func(tag uint64, v string) error {
		switch {
		case tag == tagTime:
			return s.Event.Time.UnmarshalBinary([]byte(v))
		case tag == tagAccepted:
			return Number(v, &s.Accepted)
		case tag == tagSize:
			return Number(v, &s.Size)
		case tag == tagPlain:
			return Number(v, &s.Plain)
		case tag == tagPullRequest:
			return Number(v, &s.Event.PullRequest.Number)
		case tag == tagTarget:
			provider, route, err := pair(v)
			s.Targets = append(s.Targets, bellhop.Target{Provider: provider, Route: route})
			return err
		case tag == tagHeader:
			return mapEntry(&s.Event.Headers, v)
		case tag == tagMetadata:
			return mapEntry(&s.Event.Metadata, v)
		case tag == tagField && v == "":
			s.Event.Fields = []bellhop.Field{}
		case tag == tagField:
			name, value, err := pair(v)
			s.Event.Fields = append(s.Event.Fields, bellhop.Field{Name: name, Value: value})
			return err
		case tag >= tagTexts && tag < tagTexts+uint64(len(texts)):
			*texts[tag-tagTexts] = v
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if n := int64(len(s.Inline)); n > 0 && n != s.Size {
		return nil, ErrDamaged
	}
	return s, nil
}

// Tags of a delivery's record.
const (
	tagRoute    = 1
	tagStored   = 2 // nanoseconds, as all times here
	tagBegun    = 3
	tagDue      = 4
	tagChanged  = 5
	tagAttempts = 6
	tagBody     = 7 // size of the event's body
	tagError    = 8
	tagAttempt  = 9 // time, duration, error
	tagNote     = 10
)

const (
	maxLog   = 20      // attempts kept with a delivery
	maxError = 2 << 10 // bytes kept of an error
)

// Delivery is the record of a delivery; its state is where it is kept. Times are nanoseconds since 1970.
type Delivery struct {
	Route                         string
	Accepted, Started, Due, Since int64
	Attempts                      int64
	Size                          int64 // of the event's body and record, about
	Err, Note                     string
	Log                           []bellhop.Attempt
}

// EncodeDelivery is the record of a delivery.
func EncodeDelivery(d *Delivery) []byte {
	b := []byte{Format1}
	if d.Route != "" {
		b = AppendField(b, tagRoute, d.Route)
	}
	for _, f := range [...]struct {
		tag uint64
		n   int64
	}{
		{tagStored, d.Accepted},
		{tagBegun, d.Started},
		{tagDue, d.Due},
		{tagChanged, d.Since},
		{tagAttempts, d.Attempts},
		{tagBody, d.Size},
	} {
		b = AppendNumber(b, f.tag, f.n)
	}
	if d.Err != "" {
		b = AppendField(b, tagError, d.Err)
	}
	if d.Note != "" {
		b = AppendField(b, tagNote, d.Note)
	}
	for _, a := range d.Log {
		var times [2 * binary.MaxVarintLen64]byte
		t := binary.AppendVarint(times[:0], Nanos(a.Time))
		t = binary.AppendVarint(t, int64(a.Took))
		b = appendPair(b, tagAttempt, string(t), a.Error)
	}
	return b
}

// DecodeDelivery reads what EncodeDelivery wrote.
func DecodeDelivery(record []byte) (Delivery, error) {
	var d Delivery
	if len(record) == 0 || record[0] != Format1 {
		return d, ErrDamaged
	}
	err := EachField(record[1:], func(tag uint64, v string) error {
		switch tag {
		case tagRoute:
			d.Route = v
		case tagStored:
			return Number(v, &d.Accepted)
		case tagBegun:
			return Number(v, &d.Started)
		case tagDue:
			return Number(v, &d.Due)
		case tagChanged:
			return Number(v, &d.Since)
		case tagAttempts:
			return Number(v, &d.Attempts)
		case tagBody:
			return Number(v, &d.Size)
		case tagError:
			d.Err = v
		case tagNote:
			d.Note = v
		case tagAttempt:
			times, text, err := pair(v)
			if err != nil {
				return err
			}
			at, n := binary.Varint([]byte(times))
			if n <= 0 {
				return ErrDamaged
			}
			took, m := binary.Varint([]byte(times[n:]))
			if m <= 0 {
				return ErrDamaged
			}
			d.Log = append(d.Log, bellhop.Attempt{Time: Moment(at), Took: time.Duration(took), Error: text})
		}
		return nil
	})
	return d, err
}

// AppendField appends a field: tag, length, bytes.
func AppendField[T string | []byte](b []byte, tag uint64, v T) []byte {
	b = binary.AppendUvarint(b, tag)
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

// AppendNumber appends a field that holds a number, unless that is 0.
func AppendNumber(b []byte, tag uint64, n int64) []byte {
	if n == 0 {
		return b
	}
	var buf [binary.MaxVarintLen64]byte
	return AppendField(b, tag, buf[:binary.PutVarint(buf[:], n)])
}

func appendPair(b []byte, tag uint64, first, second string) []byte {
	var buf [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(buf[:], uint64(len(first)))
	b = binary.AppendUvarint(b, tag)
	b = binary.AppendUvarint(b, uint64(n+len(first)+len(second)))
	b = append(b, buf[:n]...)
	b = append(b, first...)
	return append(b, second...)
}

// appendMap tells a map that is empty from one that is nil by a field without content.
func appendMap(b []byte, tag uint64, m map[string]string) []byte {
	if m != nil && len(m) == 0 {
		return AppendField(b, tag, "")
	}
	for k, v := range m {
		b = appendPair(b, tag, k, v)
	}
	return b
}

// EachField calls f with a row of fields. The values share one copy of it.
func EachField(rest []byte, f func(tag uint64, v string) error) error {
	text := string(rest)
	for len(rest) > 0 {
		tag, n := binary.Uvarint(rest)
		if n <= 0 {
			return ErrDamaged
		}
		size, m := binary.Uvarint(rest[n:])
		if m <= 0 || size > uint64(len(rest)-n-m) {
			return ErrDamaged
		}
		begin := len(text) - len(rest) + n + m
		if err := f(tag, text[begin:begin+int(size)]); err != nil {
			return err
		}
		rest = rest[n+m+int(size):]
	}
	return nil
}

// Number reads a field that holds a number.
func Number(v string, into *int64) error {
	n, used := binary.Varint([]byte(v))
	if used != len(v) || used <= 0 {
		return ErrDamaged
	}
	*into = n
	return nil
}

func pair(v string) (first, second string, err error) {
	n, m := binary.Uvarint([]byte(v[:min(len(v), binary.MaxVarintLen64)]))
	if m <= 0 || n > uint64(len(v)-m) {
		return "", "", ErrDamaged
	}
	return v[m : m+int(n)], v[m+int(n):], nil
}

func mapEntry(into *map[string]string, v string) error {
	if *into == nil {
		*into = make(map[string]string)
	}
	if v == "" {
		return nil
	}
	k, val, err := pair(v)
	if err != nil {
		return err
	}
	(*into)[k] = val
	return nil
}

// Nanos turns a time into what is stored, the zero time into 0.
func Nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// Moment is the inverse of Nanos.
func Moment(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}
