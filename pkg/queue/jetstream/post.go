package jetstream

import (
	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/internal/record"
)

// Tags of a post's record.
const (
	tagExpires = 1 // until when its duplicate key is remembered, nanoseconds
	tagChunks  = 2 // how many messages hold the bodies; left out if they are in the record
	tagItem    = 3 // an event's record
)

// post is the message of a Post. The bodies are in it unless they are too large.
type post struct {
	expires int64
	chunks  int64
	items   []*record.Event
}

// encodePost encodes a post as of now. The bodies are in the message, or apart if that would be larger than limit.
func encodePost(p *bellhop.Post, now int64, limit int) (message, bodies []byte, err error) {
	packed := record.Packs.Get().(*[]byte)
	defer record.Packs.Put(packed)
	encode := func(inline bool) error {
		message, bodies = []byte{record.Format1}, nil
		if p.Key != "" && p.Window > 0 {
			message = record.AppendNumber(message, tagExpires, now+int64(p.Window))
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

// outline is a post as far as where its events go: of the events it has the ids alone.
func outline(p *bellhop.Post, accepted int64) *post {
	is := &post{items: make([]*record.Event, len(p.Items))}
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

// item is the event with an id, nil if it is not of the post.
func (p *post) item(id string) *record.Event {
	for _, e := range p.items {
		if e.Event.ID == id {
			return e
		}
	}
	return nil
}

// Tags that a pointer has beside those of its delivery.
const (
	tagPost   = 64 // the id of the post's first event, if that is another
	tagRecord = 65 // there is a record of it already
)

// pointer is the message of a delivery that waits.
type pointer struct {
	post string // the id that the post is stored under
	// recorded: the delivery was retried by hand or replayed, and has a record.
	recorded bool
	delivery record.Delivery
}

func (p *pointer) encode(event string) []byte {
	b := record.EncodeDelivery(&p.delivery)
	if p.post != event {
		b = record.AppendField(b, tagPost, p.post)
	}
	if p.recorded {
		b = record.AppendNumber(b, tagRecord, 1)
	}
	return b
}

func decodePointer(event string, message []byte) (*pointer, error) {
	d, err := record.DecodeDelivery(message)
	if err != nil {
		return nil, err
	}
	p := &pointer{post: event, delivery: d}
	err = record.EachField(message[1:], func(tag uint64, v string) error {
		switch tag {
		case tagPost:
			p.post = v
		case tagRecord:
			p.recorded = true
		}
		return nil
	})
	return p, err
}

// What a record of kindTried begins with.
const (
	stillWaiting = 'w'
	isDelivered  = 'd'
)

// encodeTried is the record of what became of a delivery so far.
func encodeTried(state byte, d *record.Delivery) []byte {
	return append([]byte{state}, record.EncodeDelivery(d)...)
}

func decodeTried(message []byte) (state byte, d record.Delivery, err error) {
	if len(message) == 0 || message[0] != stillWaiting && message[0] != isDelivered {
		return 0, d, record.ErrDamaged
	}
	d, err = record.DecodeDelivery(message[1:])
	return message[0], d, err
}
