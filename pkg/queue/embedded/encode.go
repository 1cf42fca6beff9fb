package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Every value begins with a byte that names its format, so that formats can evolve; so far there is one. In
// it a record is a row of fields: tag, length, bytes (both numbers as uvarints). Empty fields are left out,
// unknown tags are skipped. JSON will not do: header values are bytes, and JSON keeps only valid UTF-8.
const format1 = 1

var errRecord = errors.New("stored record is damaged or of a newer version of bellhop")

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

// inlineBody is the largest body that is stored in one value with its event. One value is cheaper than two,
// and together they are large enough for Pebble to keep them out of its compactions (separatedSize); but a
// list of events reads the values whole.
const inlineBody = 32 << 10

// storedEvent is an event's record: the event without its body, and what the queue needs beside it.
type storedEvent struct {
	event    bellhop.Event
	accepted int64
	size     int64 // of the body as stored
	plain    int64 // of the body as it was, 0 if it is stored so
	targets  []bellhop.Target
	inline   []byte // the body as stored, if it is stored here; it aliases the record
}

// eventHead is the format and the length of the fields, four bytes; the body may follow the fields.
const eventHead = 1 + 4

// appendEvent appends the record of an event up to its body, of which it tells size and plain (see
// storedEvent). The maps need no order: records are never compared.
func appendEvent(b []byte, e *bellhop.Event, size, plain, accepted int64, targets []bellhop.Target) ([]byte, error) {
	begin := len(b)
	b = append(b, format1, 0, 0, 0, 0)
	stamp, err := e.Time.MarshalBinary()
	if err != nil { // a zone with an offset that the format cannot hold
		if stamp, err = e.Time.UTC().MarshalBinary(); err != nil {
			return nil, fmt.Errorf("event %s: storing its time: %w", e.ID, err)
		}
	}
	b = appendField(b, tagTime, stamp)
	b = appendNumber(b, tagAccepted, accepted)
	b = appendNumber(b, tagSize, size)
	b = appendNumber(b, tagPlain, plain)
	b = appendNumber(b, tagPullRequest, e.PullRequest.Number)
	for i, text := range eventTexts(e) {
		if *text != "" {
			b = appendField(b, tagTexts+uint64(i), *text)
		}
	}
	for _, t := range targets {
		b = appendPair(b, tagTarget, t.Provider, t.Route)
	}
	b = appendMap(b, tagHeader, e.Headers)
	b = appendMap(b, tagMetadata, e.Metadata)
	if e.Fields != nil && len(e.Fields) == 0 {
		b = appendField(b, tagField, "")
	}
	for _, f := range e.Fields {
		b = appendPair(b, tagField, f.Name, f.Value)
	}
	binary.BigEndian.PutUint32(b[begin+1:], uint32(len(b)-begin-eventHead))
	return b, nil
}

// decodeEvent reads what appendEvent wrote. The event's texts share one copy of the record.
func decodeEvent(record []byte) (*storedEvent, error) {
	if len(record) < eventHead || record[0] != format1 {
		return nil, errRecord
	}
	fields, n := record[eventHead:], binary.BigEndian.Uint32(record[1:])
	if uint64(n) > uint64(len(fields)) {
		return nil, errRecord
	}
	s := &storedEvent{inline: fields[n:]}
	texts := eventTexts(&s.event)
	err := eachField(fields[:n], func(tag uint64, v string) error {
		switch {
		case tag == tagTime:
			return s.event.Time.UnmarshalBinary([]byte(v))
		case tag == tagAccepted:
			return number(v, &s.accepted)
		case tag == tagSize:
			return number(v, &s.size)
		case tag == tagPlain:
			return number(v, &s.plain)
		case tag == tagPullRequest:
			return number(v, &s.event.PullRequest.Number)
		case tag == tagTarget:
			provider, route, err := pair(v)
			s.targets = append(s.targets, bellhop.Target{Provider: provider, Route: route})
			return err
		case tag == tagHeader:
			return mapEntry(&s.event.Headers, v)
		case tag == tagMetadata:
			return mapEntry(&s.event.Metadata, v)
		case tag == tagField && v == "":
			s.event.Fields = []bellhop.Field{}
		case tag == tagField:
			name, value, err := pair(v)
			s.event.Fields = append(s.event.Fields, bellhop.Field{Name: name, Value: value})
			return err
		case tag >= tagTexts && tag < tagTexts+uint64(len(texts)):
			*texts[tag-tagTexts] = v
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if n := int64(len(s.inline)); n > 0 && n != s.size {
		return nil, errRecord
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

// delivery is the record of a delivery; its state is the space it is in. Times are nanoseconds since 1970.
type delivery struct {
	route                         string
	accepted, started, due, since int64
	attempts                      int64
	size                          int64 // of the event's body and record, about
	err, note                     string
	log                           []bellhop.Attempt
}

// appendFresh appends the short record of a delivery that was never tried; every other record begins with
// format1 too, but fresh ones are in a space of their own.
func appendFresh(b []byte, accepted, size int64, route string) []byte {
	b = append(b, format1)
	b = appendTime(b, accepted)
	b = binary.AppendUvarint(b, uint64(size))
	return append(b, route...)
}

func freshLen(size int64, route string) int {
	var buf [binary.MaxVarintLen64]byte
	return 1 + timeLen + binary.PutUvarint(buf[:], uint64(size)) + len(route)
}

func decodeFresh(v []byte) (delivery, error) {
	if len(v) < 1+timeLen+1 || v[0] != format1 {
		return delivery{}, errRecord
	}
	accepted := int64(binary.BigEndian.Uint64(v[1:]))
	v = v[1+timeLen:]
	size, n := binary.Uvarint(v)
	if n <= 0 || accepted < 0 || int64(size) < 0 {
		return delivery{}, errRecord
	}
	return delivery{
		route: string(v[n:]), accepted: accepted, started: accepted, due: accepted, since: accepted, size: int64(size),
	}, nil
}

func encodeDelivery(d *delivery) []byte {
	b := []byte{format1}
	if d.route != "" {
		b = appendField(b, tagRoute, d.route)
	}
	for _, f := range [...]struct {
		tag uint64
		n   int64
	}{
		{tagStored, d.accepted},
		{tagBegun, d.started},
		{tagDue, d.due},
		{tagChanged, d.since},
		{tagAttempts, d.attempts},
		{tagBody, d.size},
	} {
		b = appendNumber(b, f.tag, f.n)
	}
	if d.err != "" {
		b = appendField(b, tagError, d.err)
	}
	if d.note != "" {
		b = appendField(b, tagNote, d.note)
	}
	for _, a := range d.log {
		var times [2 * binary.MaxVarintLen64]byte
		t := binary.AppendVarint(times[:0], nanos(a.Time))
		t = binary.AppendVarint(t, int64(a.Took))
		b = appendPair(b, tagAttempt, string(t), a.Error)
	}
	return b
}

func decodeDelivery(record []byte) (delivery, error) {
	var d delivery
	if len(record) == 0 || record[0] != format1 {
		return d, errRecord
	}
	err := eachField(record[1:], func(tag uint64, v string) error {
		switch tag {
		case tagRoute:
			d.route = v
		case tagStored:
			return number(v, &d.accepted)
		case tagBegun:
			return number(v, &d.started)
		case tagDue:
			return number(v, &d.due)
		case tagChanged:
			return number(v, &d.since)
		case tagAttempts:
			return number(v, &d.attempts)
		case tagBody:
			return number(v, &d.size)
		case tagError:
			d.err = v
		case tagNote:
			d.note = v
		case tagAttempt:
			times, text, err := pair(v)
			if err != nil {
				return err
			}
			at, n := binary.Varint([]byte(times))
			if n <= 0 {
				return errRecord
			}
			took, m := binary.Varint([]byte(times[n:]))
			if m <= 0 {
				return errRecord
			}
			d.log = append(d.log, bellhop.Attempt{Time: moment(at), Took: time.Duration(took), Error: text})
		}
		return nil
	})
	return d, err
}

// tried adds an attempt to the log and keeps the last ones.
func (d *delivery) tried(started time.Time, took time.Duration, err error) {
	d.err = ""
	if err != nil {
		d.err = err.Error()
		if len(d.err) > maxError {
			d.err = strings.ToValidUTF8(d.err[:maxError], "")
		}
	}
	d.log = append(d.log, bellhop.Attempt{Time: started.UTC(), Took: took, Error: d.err})
	if n := len(d.log) - maxLog; n > 0 {
		d.log = append([]bellhop.Attempt(nil), d.log[n:]...)
	}
}

// show is the delivery as the vocabulary has it.
func (d *delivery) show(space byte, event, provider string) *bellhop.Delivery {
	out := &bellhop.Delivery{
		ID:       bellhop.DeliveryID(event, provider),
		Event:    event,
		Provider: provider,
		Route:    d.route,
		State:    bellhop.Waiting,
		Accepted: moment(d.accepted),
		Started:  moment(d.started),
		Attempts: int(d.attempts),
		Log:      append([]bellhop.Attempt(nil), d.log...),
		Error:    d.err,
		Note:     d.note,
		Time:     moment(d.since),
	}
	switch space {
	case spaceDone:
		out.State = bellhop.Delivered
	case spaceDead:
		out.State = bellhop.Dead
	default:
		out.Due = moment(d.due)
	}
	return out
}

// keyRecord is the value of a duplicate key.
func appendKeyRecord(b []byte, expires int64, ids []string) []byte {
	b = append(b, format1)
	b = appendTime(b, expires)
	for _, id := range ids {
		b = binary.AppendUvarint(b, uint64(len(id)))
		b = append(b, id...)
	}
	return b
}

func decodeKeyRecord(v []byte) (expires int64, ids []string, err error) {
	if len(v) < 1+timeLen || v[0] != format1 {
		return 0, nil, errRecord
	}
	expires = int64(binary.BigEndian.Uint64(v[1:]))
	for v = v[1+timeLen:]; len(v) > 0; {
		n, m := binary.Uvarint(v)
		if m <= 0 || n > uint64(len(v)-m) {
			return 0, nil, errRecord
		}
		ids = append(ids, string(v[m:m+int(n)]))
		v = v[m+int(n):]
	}
	return expires, ids, nil
}

func appendField[T string | []byte](b []byte, tag uint64, v T) []byte {
	b = binary.AppendUvarint(b, tag)
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

func appendNumber(b []byte, tag uint64, n int64) []byte {
	if n == 0 {
		return b
	}
	var buf [binary.MaxVarintLen64]byte
	return appendField(b, tag, buf[:binary.PutVarint(buf[:], n)])
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
		return appendField(b, tag, "")
	}
	for k, v := range m {
		b = appendPair(b, tag, k, v)
	}
	return b
}

// eachField calls f with a row of fields. The values share one copy of it.
func eachField(rest []byte, f func(tag uint64, v string) error) error {
	text := string(rest)
	for len(rest) > 0 {
		tag, n := binary.Uvarint(rest)
		if n <= 0 {
			return errRecord
		}
		size, m := binary.Uvarint(rest[n:])
		if m <= 0 || size > uint64(len(rest)-n-m) {
			return errRecord
		}
		begin := len(text) - len(rest) + n + m
		if err := f(tag, text[begin:begin+int(size)]); err != nil {
			return err
		}
		rest = rest[n+m+int(size):]
	}
	return nil
}

func number(v string, into *int64) error {
	n, used := binary.Varint([]byte(v))
	if used != len(v) || used <= 0 {
		return errRecord
	}
	*into = n
	return nil
}

func pair(v string) (first, second string, err error) {
	n, m := binary.Uvarint([]byte(v[:min(len(v), binary.MaxVarintLen64)]))
	if m <= 0 || n > uint64(len(v)-m) {
		return "", "", errRecord
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
