package jetstream

import (
	"encoding/base64"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/internal/record"
)

// Tags of a post's record.
const (
	tagExpires = 1 // until when its duplicate key is remembered, nanoseconds
	tagChunks  = 2 // how many messages hold the bodies; left out if they are in the record
	tagItem    = 3 // an event's record
	tagKey     = 4 // the duplicate key; older posts do not say it, and are exported without
	tagID      = 5 // an event's id, in place of its record: the message is but a key
)

// post is the message of a Post. The bodies are in it unless they are too large.
type post struct {
	seq     uint64 // of the message, if it was read
	home    string // whose delivery it is as well; nobody if of none
	key     string
	expires int64
	isKey   bool // it is but the duplicate key of events that were imported, of which it has the ids
	chunks  int64
	items   []*record.Event
	done    []*stored // the records of what is done of it, if they were read
}

// encodePost encodes a post as of now. The bodies are in the message, or apart if that would be larger than limit.
func encodePost(p *bellhop.Post, now int64, limit int) (message, bodies []byte, err error) {
	packed := record.Packs.Get().(*[]byte)
	defer record.Packs.Put(packed)
	encode := func(inline bool) error {
		message, bodies = []byte{record.Format1}, nil
		if p.Key != "" {
			message = appendKey(message, p.Key, now+int64(p.Window))
		}
		for _, item := range p.Items {
			body, plain := record.Pack(packed, item.Event.Raw)
			e, err := record.AppendEvent(nil, item.Event, int64(len(body)), plain, now, item.To)
			if err != nil {
				return err
			}
			if inline {
				e = append(e, body...)
			} else {
				bodies = append(bodies, body...)
			}
			message = record.AppendField(message, tagItem, e)
		}
		return nil
	}
	if err := encode(true); err != nil || len(message) <= limit {
		return message, nil, err
	}
	err = encode(false)
	return message, bodies, err
}

// appendKey appends the fields of a duplicate key.
func appendKey(message []byte, key string, expires int64) []byte {
	return record.AppendField(record.AppendNumber(message, tagExpires, expires), tagKey, key)
}

// encodeKey encodes a duplicate key that was imported.
func encodeKey(k *bellhop.DuplicateKey) []byte {
	message := appendKey([]byte{record.Format1}, k.Key, record.Nanos(k.Expires))
	for _, id := range k.IDs {
		message = record.AppendField(message, tagID, id)
	}
	return message
}

// outline is a post as far as where its events go: of the events it has the ids alone.
func outline(p *bellhop.Post, accepted int64) *post {
	is := &post{home: home(p), items: make([]*record.Event, len(p.Items))}
	for i, item := range p.Items {
		is.items[i] = &record.Event{Event: bellhop.Event{ID: item.Event.ID}, Accepted: accepted, Targets: item.To}
	}
	return is
}

func decodePost(message []byte) (*post, error) {
	if len(message) == 0 || message[0] != record.Format1 {
		return nil, record.ErrDamaged
	}
	p := &post{}
	err := record.EachField(message[1:], func(tag uint64, v string) error {
		switch tag {
		case tagExpires:
			return record.Number(v, &p.expires)
		case tagChunks:
			return record.Number(v, &p.chunks)
		case tagKey:
			p.key = v
		case tagID:
			p.isKey = true
			p.items = append(p.items, &record.Event{Event: bellhop.Event{ID: v}})
		case tagItem:
			e, err := record.DecodeEvent([]byte(v))
			if err != nil {
				return err
			}
			p.items = append(p.items, e)
		}
		return nil
	})
	if err == nil && len(p.items) == 0 {
		err = record.ErrDamaged
	}
	return p, err
}

// post reads a message that is a post.
func (n names) post(m *stored) (*post, error) {
	p, err := decodePost(m.Data)
	if err != nil {
		return nil, fmt.Errorf("message %d of stream %s: %w", m.Seq, n.events(), err)
	}
	p.seq = m.Seq
	p.home, _, _ = n.splitMessage(m.Subject)
	return p, nil
}

// bring gives the events the bodies that were kept apart.
func (p *post) bring(bodies []byte) error {
	for _, e := range p.items {
		if e.Size < 0 || e.Size > int64(len(bodies)) {
			return record.ErrDamaged
		}
		e.Inline, bodies = bodies[:e.Size], bodies[e.Size:]
	}
	return nil
}

func (p *post) ids() []string {
	ids := make([]string, len(p.items))
	for i, e := range p.items {
		ids[i] = e.Event.ID
	}
	return ids
}

// duplicateKey is what the post is recognised by at a time, nil if it is not, or does not say.
func (p *post) duplicateKey(now int64) *bellhop.DuplicateKey {
	if p.key == "" || p.expires <= now {
		return nil
	}
	return &bellhop.DuplicateKey{Key: p.key, IDs: p.ids(), Expires: record.Moment(p.expires)}
}

// item is the event with an id, nil if it is not of the post.
func (p *post) item(id string) *record.Event {
	for _, e := range p.items {
		if e.Event.ID == id {
			return e
		}
	}
	return nil
}

// home is the provider whose delivery the message of a post is as well: that of its only event to its first target.
// Other deliveries have messages of their own.
func home(p *bellhop.Post) string {
	if len(p.Items) == 1 && len(p.Items[0].To) > 0 {
		return p.Items[0].To[0].Provider
	}
	return nobody
}

// Tags that a delivery's message has beside those of the delivery.
const (
	tagPost   = 64 // the id of the post's first event, if that is another
	tagAgain  = 65 // it was retried by hand or replayed: there are records of it
	tagHome   = 66 // the post's home, if it is not the delivery's provider
	tagNobody = 67 // the post has no home
)

// pointer is the delivery in a message: how it began, and where its post is.
type pointer struct {
	home, post string
	again      bool
	delivery   record.Delivery
}

func (p *pointer) encode(provider, event string) []byte {
	b := record.EncodeDelivery(&p.delivery)
	if p.post != event {
		b = record.AppendField(b, tagPost, p.post)
	}
	if p.again {
		b = record.AppendNumber(b, tagAgain, 1)
	}
	switch p.home {
	case provider:
	case nobody:
		b = record.AppendNumber(b, tagNobody, 1)
	default:
		b = record.AppendField(b, tagHome, p.home)
	}
	return b
}

func decodePointer(provider, event string, message []byte) (*pointer, error) {
	d, err := record.DecodeDelivery(message)
	if err != nil {
		return nil, err
	}
	p := &pointer{home: provider, post: event, delivery: d}
	err = record.EachField(message[1:], func(tag uint64, v string) error {
		switch tag {
		case tagPost:
			p.post = v
		case tagAgain:
			p.again = true
		case tagHome:
			p.home = v
		case tagNobody:
			p.home = nobody
		}
		return nil
	})
	return p, err
}

// header names the header that holds a pointer: the servers give the consumers headers alone.
const header = "Bellhop"

// message is a message of a delivery.
func (p *pointer) message(subject, provider, event string, body []byte) *nats.Msg {
	return &nats.Msg{Subject: subject, Data: body, Header: nats.Header{
		header: {base64.RawURLEncoding.EncodeToString(p.encode(provider, event))},
	}}
}

// pointerOf reads a message of a delivery.
func pointerOf(provider, event string, h nats.Header) (*pointer, error) {
	b, err := base64.RawURLEncoding.DecodeString(h.Get(header))
	if err != nil {
		return nil, record.ErrDamaged
	}
	return decodePointer(provider, event, b)
}

// fresh is a delivery as it is when its event is accepted.
func fresh(route string, accepted int64) record.Delivery {
	return record.Delivery{Route: route, Accepted: accepted, Started: accepted, Due: accepted, Since: accepted}
}

// Tags that a record of kindRetry has beside those of the delivery.
const (
	tagSeq   = 64 // the sequence of the message that has the delivery
	tagReply = 65 // where that is acknowledged, if it was tried
)

// retry is the record of a delivery that waits, and is not as it was when it was accepted. Whoever makes it begin anew
// acknowledges the message that it has.
type retry struct {
	record.Delivery
	seq   uint64
	reply string
}

func (r *retry) encode() []byte {
	b := record.AppendNumber(record.EncodeDelivery(&r.Delivery), tagSeq, int64(r.seq))
	if r.reply != "" {
		b = record.AppendField(b, tagReply, r.reply)
	}
	return b
}

func decodeRetry(message []byte) (*retry, error) {
	d, err := record.DecodeDelivery(message)
	if err != nil {
		return nil, err
	}
	r := &retry{Delivery: d}
	err = record.EachField(message[1:], func(tag uint64, v string) error {
		switch tag {
		case tagSeq:
			var n int64
			err := record.Number(v, &n)
			r.seq = uint64(n)
			return err
		case tagReply:
			r.reply = v
		}
		return nil
	})
	return r, err
}

// What a record of kindDone begins with.
const (
	isDelivered = 'd'
	isDropped   = 'x'
)

// encodeDone is the record of what became of a delivery.
func encodeDone(state byte, d *record.Delivery) []byte {
	return append([]byte{state}, record.EncodeDelivery(d)...)
}

func decodeDone(message []byte) (state byte, d record.Delivery, err error) {
	if len(message) == 0 || message[0] != isDropped && message[0] != isDelivered {
		return 0, d, record.ErrDamaged
	}
	d, err = record.DecodeDelivery(message[1:])
	return message[0], d, err
}
