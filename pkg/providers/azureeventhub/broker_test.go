package azureeventhub_test

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// broker is an event hub's namespace as far as a sender sees it: an AMQP 1.0 server that is strict about what the
// specification says, believes nobody who has not put a token into $cbs, and verifies that token as Azure does.
// https://learn.microsoft.com/azure/event-hubs/event-hubs-amqp-protocol-guide
type broker struct {
	t *testing.T
	// host is what clients must call the namespace, hub the one that is there.
	host, hub string
	scheme    string // of audiences: amqps, or amqp for an emulator
	keyName   string
	key       string
	jwt       func(token string) bool // which tokens are believed
	maxSize   uint64
	// answer says what becomes of a message, by its number from 1. nil: all are accepted.
	answer func(n int) outcome
	// putToken says what becomes of a token that is right; nil: it is believed.
	putToken func() (status int32, description string)
	// arrived is told of every message, once it is whole.
	arrived chan received

	mu          sync.Mutex
	messages    []received
	connections int
	puts        int
}

// received is a message of the hub.
type received struct {
	key  string // the partition's
	body []byte
	message
}

// outcome is what becomes of a message.
type outcome struct {
	do        func(c *conn, l *link, id uint32) error // nil: accepted
	condition string
	text      string
}

var (
	accepted = outcome{}
	silent   = outcome{do: func(*conn, *link, uint32) error { return nil }}
	hangUp   = outcome{do: func(*conn, *link, uint32) error { return errHangUp }}
)

var errHangUp = errors.New("hanging up")

func rejected(condition, text string) outcome {
	return outcome{do: func(c *conn, l *link, id uint32) error {
		return c.dispose(l, id, described{0x25, list{amqpError(condition, text)}})
	}}
}

func detached(condition, text string) outcome {
	return outcome{do: func(c *conn, l *link, _ uint32) error {
		return c.detach(l, condition, text)
	}}
}

func closed(condition, text string) outcome {
	return outcome{do: func(c *conn, _ *link, _ uint32) error {
		c.gone = true
		return c.write(0, described{opClose, list{amqpError(condition, text)}}, nil)
	}}
}

func amqpError(condition, text string) described {
	return described{0x1d, list{symbol(condition), text}}
}

func (b *broker) all() []received {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]received(nil), b.messages...)
}

func (b *broker) counts() (connections, puts int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.connections, b.puts
}

// serve speaks to one client until either end hangs up. A client that breaks the rules fails the test.
func (b *broker) serve(nc net.Conn) {
	defer nc.Close()
	b.mu.Lock()
	b.connections++
	b.mu.Unlock()
	c := &conn{broker: b, w: nc, r: bufio.NewReader(nc), sessions: map[uint16]*session{}, allowed: map[string]time.Time{}}
	var wrong *violation
	if err := c.run(); errors.As(err, &wrong) {
		b.t.Errorf("the client broke the protocol: %v", err)
	}
}

// violation is a client's breach of the protocol.
type violation struct{ what string }

func (v *violation) Error() string { return v.what }

func wrong(format string, args ...any) error { return &violation{fmt.Sprintf(format, args...)} }

// conn is a connection.
type conn struct {
	*broker
	r        *bufio.Reader
	w        io.Writer
	sessions map[uint16]*session
	allowed  map[string]time.Time // audiences that a token opens, and until when
	cbsLinks int
	gone     bool // closed from this end
}

type session struct {
	channel      uint16
	links        map[uint32]*link
	nextIncoming uint32
	nextOutgoing uint32
}

// link is a link; the client sends on it, or receives.
type link struct {
	*session
	handle     uint32
	name       string
	clientTo   string // where the client sends
	clientFrom string // what the client receives from
	replyTo    string // the address that it receives at
	credit     uint32
	count      uint32 // deliveries so far
	pending    []byte // of a message that is not whole
	pendingID  uint32
	partial    bool
	waiting    []func() error // for credit
	gone       bool           // detached from this end; what is on the way is thrown away
}

// send sends once the client gave credit for it, which may come after what it asks.
func (l *link) send(write func() error) error {
	l.waiting = append(l.waiting, write)
	for l.credit > 0 && len(l.waiting) > 0 {
		l.credit--
		write, l.waiting = l.waiting[0], l.waiting[1:]
		if err := write(); err != nil {
			return err
		}
	}
	return nil
}

// Performatives.
const (
	opOpen        = 0x10
	opBegin       = 0x11
	opAttach      = 0x12
	opFlow        = 0x13
	opTransfer    = 0x14
	opDisposition = 0x15
	opDetach      = 0x16
	opEnd         = 0x17
	opClose       = 0x18
)

const (
	maxFrame   = 4096 // small, so that messages come in several frames
	linkCredit = 300
)

func (c *conn) run() error {
	if err := c.handshake(); err != nil {
		return err
	}
	channel, op, payload, err := c.read(0)
	if err != nil {
		return err
	}
	f, ok := op.value.(list)
	if channel != 0 || op.code != opOpen || !ok || len(payload) > 0 {
		return wrong("the first frame is not open")
	}
	if id, _ := field(f, 0).(string); id == "" {
		return wrong("open without a container id")
	}
	if host, _ := field(f, 1).(string); host != c.host {
		return wrong("open to %q, want %q", host, c.host)
	}
	// Container, host, largest frame, highest channel, idle time-out in milliseconds.
	if err := c.write(0, described{opOpen, list{"broker", nil, uint32(maxFrame), uint16(1000), uint32(240_000)}}, nil); err != nil {
		return err
	}
	for {
		channel, op, payload, err := c.read(0)
		if err != nil {
			return err
		}
		f, ok := op.value.(list)
		if !ok {
			return wrong("performative %#x is no list", op.code)
		}
		if op.code != opTransfer && len(payload) > 0 {
			return wrong("performative %#x with a payload", op.code)
		}
		switch {
		case op.code == opClose && c.gone:
			return nil
		case op.code == opClose:
			return c.write(0, described{opClose, list{}}, nil)
		case c.gone:
			continue
		}
		s := c.sessions[channel]
		if (s == nil) != (op.code == opBegin) {
			return wrong("performative %#x on channel %d, which is not in that state", op.code, channel)
		}
		switch op.code {
		case opBegin:
			err = c.begin(channel, f)
		case opAttach:
			err = c.attach(s, f)
		case opFlow:
			err = c.flow(s, f)
		case opTransfer:
			err = c.transfer(s, f, payload)
		case opDetach:
			err = c.detached(s, f)
		case opEnd:
			delete(c.sessions, channel)
			for _, l := range s.links {
				c.forget(l)
			}
			err = c.write(channel, described{opEnd, list{}}, nil)
		case opDisposition:
			err = wrong("a disposition of a message that was sent settled")
		default:
			err = wrong("performative %#x", op.code)
		}
		if err != nil {
			return err
		}
	}
}

// handshake is the layer of SASL: Azure takes everybody, as who you are is told to $cbs.
func (c *conn) handshake() error {
	if err := c.protocol("AMQP\x03\x01\x00\x00"); err != nil {
		return err
	}
	if err := c.frame(1, 0, described{0x40, list{array{symbol("MSSBCBS"), symbol("PLAIN"), symbol("ANONYMOUS"), symbol("EXTERNAL")}}}, nil); err != nil {
		return err
	}
	_, op, _, err := c.read(1)
	if err != nil {
		return err
	}
	f, _ := op.value.(list)
	if op.code != 0x41 || field(f, 0) != symbol("ANONYMOUS") {
		return wrong("SASL began with %v", op)
	}
	if err := c.frame(1, 0, described{0x44, list{uint8(0)}}, nil); err != nil {
		return err
	}
	return c.protocol("AMQP\x00\x01\x00\x00")
}

func (c *conn) protocol(want string) error {
	var got [8]byte
	if _, err := io.ReadFull(c.r, got[:]); err != nil {
		return err
	}
	if string(got[:]) != want {
		return wrong("protocol %q, want %q", got, want)
	}
	_, err := io.WriteString(c.w, want)
	return err
}

// read reads a frame that is not empty, of AMQP (0) or SASL (1).
func (c *conn) read(kind byte) (channel uint16, op described, payload []byte, err error) {
	for {
		var head [8]byte
		if _, err = io.ReadFull(c.r, head[:]); err != nil {
			return 0, op, nil, err
		}
		size, offset := binary.BigEndian.Uint32(head[:]), int(head[4])*4
		if size < 8 || size > maxFrame || offset < 8 || offset > int(size) || head[5] != kind {
			return 0, op, nil, wrong("frame head % x", head)
		}
		body := make([]byte, size-8)
		if _, err = io.ReadFull(c.r, body); err != nil {
			return 0, op, nil, err
		}
		channel = binary.BigEndian.Uint16(head[6:])
		if body = body[offset-8:]; len(body) == 0 {
			continue // a heartbeat
		}
		r := &reader{body}
		v, err := r.value(0)
		if err != nil {
			return 0, op, nil, wrong("reading a frame: %v", err)
		}
		op, ok := v.(described)
		if !ok {
			return 0, op, nil, wrong("a frame of type %T", v)
		}
		return channel, op, r.data, nil
	}
}

func (c *conn) write(channel uint16, op described, payload []byte) error {
	return c.frame(0, channel, op, payload)
}

func (c *conn) frame(kind byte, channel uint16, op described, payload []byte) error {
	body := append(appendValue(nil, op), payload...)
	f := binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))
	f = append(f, 2, kind, byte(channel>>8), byte(channel))
	_, err := c.w.Write(append(f, body...))
	return err
}

// field is a performative's field, nil if it is left out.
func field(f list, i int) any {
	if i >= len(f) {
		return nil
	}
	return f[i]
}

func (c *conn) begin(channel uint16, f list) error {
	next, ok := field(f, 1).(uint32)
	if _, in := field(f, 2).(uint32); !ok || !in || field(f, 0) != nil {
		return wrong("begin %v", f)
	}
	c.sessions[channel] = &session{channel: channel, links: map[uint32]*link{}, nextIncoming: next}
	// The other end's channel, next outgoing id, incoming and outgoing window.
	return c.write(channel, described{opBegin, list{channel, uint32(0), uint32(5000), uint32(5000)}}, nil)
}

func (c *conn) attach(s *session, f list) error {
	name, hasName := field(f, 0).(string)
	handle, hasHandle := field(f, 1).(uint32)
	receiving, hasRole := field(f, 2).(bool)
	source, hasSource := field(f, 5).(described)
	target, hasTarget := field(f, 6).(described)
	if !hasName || !hasHandle || !hasRole || !hasSource || !hasTarget || source.code != 0x28 || target.code != 0x29 {
		return wrong("attach %v", f)
	}
	if s.links[handle] != nil {
		return wrong("attach with the handle %d, which is in use", handle)
	}
	from, _ := source.value.(list)
	to, _ := target.value.(list)
	l := &link{session: s, handle: handle, name: name}
	s.links[handle] = l
	if receiving {
		l.clientFrom, _ = field(from, 0).(string)
		l.replyTo, _ = field(to, 0).(string)
		if l.clientFrom != "$cbs" || l.replyTo == "" {
			return wrong("the client receives from %q at %q", l.clientFrom, l.replyTo)
		}
		// The first delivery count is the sender's to tell.
		return c.write(s.channel, described{opAttach, list{name, handle, false, field(f, 3), field(f, 4), source, target, nil, nil, uint32(0)}}, nil)
	}
	l.clientTo, _ = field(to, 0).(string)
	if _, counted := field(f, 9).(uint32); !counted {
		return wrong("a sender's attach without its first delivery count")
	}
	l.count = field(f, 9).(uint32)
	if l.clientTo == "$cbs" {
		// Azure allows one pair of links to it on a connection.
		if c.cbsLinks++; c.cbsLinks > 1 {
			return c.refuse(l, f, "amqp:not-allowed", "there is a link to $cbs on this connection")
		}
	} else if refused := c.open(l); refused != nil {
		return c.refuse(l, f, refused.condition, refused.text)
	}
	if err := c.write(s.channel, described{opAttach, list{name, handle, true, field(f, 3), field(f, 4), source, target, nil, nil, nil, c.maxSize}}, nil); err != nil {
		return err
	}
	return c.grant(l)
}

// open says why a link to a hub is refused.
func (c *conn) open(l *link) *outcome {
	audience := c.scheme + "://" + c.host + "/" + l.clientTo
	switch until, ok := c.allowed[audience]; {
	case !ok:
		return &outcome{condition: "amqp:unauthorized-access", text: "Unauthorized access. 'Send' claim(s) are required to perform this operation. Resource: 'sb://" + c.host + "/" + l.clientTo + "'"}
	case time.Now().After(until):
		return &outcome{condition: "amqp:unauthorized-access", text: "ExpiredToken"}
	case l.clientTo != c.hub:
		return &outcome{condition: "amqp:not-found", text: "The messaging entity 'sb://" + c.host + "/" + l.clientTo + "' could not be found."}
	}
	return nil
}

// refuse answers an attach as the specification says: a link without a target, then its end.
func (c *conn) refuse(l *link, f list, condition, text string) error {
	if err := c.write(l.channel, described{opAttach, list{l.name, l.handle, true, field(f, 3), field(f, 4), nil, nil}}, nil); err != nil {
		return err
	}
	return c.detach(l, condition, text)
}

func (c *conn) detach(l *link, condition, text string) error {
	l.gone = true
	return c.write(l.channel, described{opDetach, list{l.handle, true, amqpError(condition, text)}}, nil)
}

// grant lets the client send.
func (c *conn) grant(l *link) error {
	l.credit = linkCredit
	return c.write(l.channel, described{opFlow, list{l.nextIncoming, uint32(5000), l.nextOutgoing, uint32(5000), l.handle, l.count, l.credit}}, nil)
}

func (c *conn) flow(s *session, f list) error {
	for i := 1; i <= 3; i++ {
		if _, ok := field(f, i).(uint32); !ok {
			return wrong("flow %v", f)
		}
	}
	handle, ok := field(f, 4).(uint32)
	if !ok {
		return nil // of the session
	}
	l := s.links[handle]
	if l == nil {
		return wrong("flow on the handle %d, which is not attached", handle)
	}
	if l.clientFrom == "" {
		return nil
	}
	if l.credit, ok = field(f, 6).(uint32); !ok || len(l.waiting) == 0 {
		return nil
	}
	write := l.waiting[0]
	l.waiting = l.waiting[1:]
	return l.send(write)
}

func (c *conn) detached(s *session, f list) error {
	handle, ok := field(f, 0).(uint32)
	l := s.links[handle]
	if !ok || l == nil {
		return wrong("detach %v", f)
	}
	delete(s.links, handle)
	c.forget(l)
	return c.write(s.channel, described{opDetach, list{handle, true}}, nil)
}

func (c *conn) forget(l *link) {
	if l.clientTo == "$cbs" {
		c.cbsLinks--
	}
}

func (c *conn) transfer(s *session, f list, payload []byte) error {
	handle, _ := field(f, 0).(uint32)
	l := s.links[handle]
	if l == nil || l.clientTo == "" {
		return wrong("a transfer on the handle %d, which is not the client's to send on", handle)
	}
	s.nextIncoming++
	if l.gone {
		return nil
	}
	if !l.partial {
		id, hasID := field(f, 1).(uint32)
		tag, hasTag := field(f, 2).([]byte)
		format, hasFormat := field(f, 3).(uint32)
		want := uint32(0)
		if l.clientTo != "$cbs" {
			want = 0x80013700 // a batch
		}
		if !hasID || !hasTag || len(tag) > 32 || !hasFormat || format != want {
			return wrong("transfer %v", f)
		}
		l.pendingID, l.pending = id, nil
	}
	l.pending = append(l.pending, payload...)
	if l.partial, _ = field(f, 5).(bool); l.partial {
		return nil
	}
	if l.credit == 0 {
		return wrong("a message without credit")
	}
	l.credit--
	l.count++
	if settled, _ := field(f, 4).(bool); settled {
		return wrong("a message that wants no answer")
	}
	m, err := readMessage(l.pending)
	if err != nil {
		return wrong("reading a message: %v", err)
	}
	if l.clientTo == "$cbs" {
		if err := c.dispose(l, l.pendingID, described{0x24, list{}}); err != nil {
			return err
		}
		return c.cbs(s, m)
	}
	if err := c.receive(l, m); err != nil {
		return err
	}
	if l.credit == 0 {
		return c.grant(l)
	}
	return nil
}

func (c *conn) dispose(l *link, id uint32, state described) error {
	return c.write(l.channel, described{opDisposition, list{true, id, id, true, state}}, nil)
}

// receive takes a batch of messages for the hub.
func (c *conn) receive(l *link, batch message) error {
	if uint64(len(l.pending)) > c.maxSize {
		return wrong("a message of %d bytes, over the link's %d", len(l.pending), c.maxSize)
	}
	if len(batch.data) != 1 {
		return wrong("a batch of %d messages, want one an event", len(batch.data))
	}
	m, err := readMessage(batch.data[0])
	if err != nil {
		return wrong("reading a message of a batch: %v", err)
	}
	got := received{message: m, body: bytes.Join(m.data, nil)}
	got.key, _ = m.annotations.get(symbol("x-opt-partition-key")).(string)
	// Azure looks at the envelope's.
	if key, _ := batch.annotations.get(symbol("x-opt-partition-key")).(string); key != got.key || len(m.data) != 1 {
		return wrong("a batch for %q with a message for %q", key, got.key)
	}
	c.mu.Lock()
	c.messages = append(c.messages, got)
	n := len(c.messages)
	c.mu.Unlock()
	if c.arrived != nil {
		c.arrived <- got
	}
	if c.answer != nil {
		if o := c.answer(n); o.do != nil {
			return o.do(c, l, l.pendingID)
		}
	}
	return c.dispose(l, l.pendingID, described{0x24, list{}})
}

// cbs answers a put-token.
// https://docs.oasis-open.org/amqp/amqp-cbs/v1.0/csd01/amqp-cbs-v1.0-csd01.html
func (c *conn) cbs(s *session, m message) error {
	reply, _ := m.property(propertyReplyTo).(string)
	id, _ := m.property(propertyMessageID).(string)
	operation, kind := m.application.get("operation"), m.application.get("type")
	audience, _ := m.application.get("name").(string)
	token, _ := m.value.(string)
	if operation != "put-token" || id == "" || audience == "" || token == "" {
		return wrong("a request to $cbs: %v", m.application)
	}
	c.mu.Lock()
	c.puts++
	c.mu.Unlock()
	status, text := int32(202), "Accepted"
	var until time.Time
	var err error
	switch kind {
	case "servicebus.windows.net:sastoken":
		until, err = c.verifySAS(token, audience)
	case "jwt":
		until = time.Now().Add(time.Hour)
		if c.jwt == nil || !c.jwt(token) {
			err = errors.New("InvalidIssuer: Token issuer is invalid. " + token)
		}
	default:
		return wrong("a token of type %v", kind)
	}
	switch {
	case err != nil:
		status, text = 401, err.Error()
	case c.putToken != nil:
		status, text = c.putToken()
	}
	if status == 202 {
		c.allowed[audience] = until
	}
	for _, l := range s.links {
		if l.clientFrom != "$cbs" || l.replyTo != reply {
			continue
		}
		answer := appendValue(nil, described{sectionProperties, list{nil, nil, nil, nil, nil, id}})
		answer = appendValue(answer, described{sectionApplicationProperties, mapping{{"status-code", status}, {"status-description", text}}})
		answer = appendValue(answer, described{sectionValue, nil})
		return l.send(func() error {
			delivery := s.nextOutgoing
			s.nextOutgoing++
			return c.write(s.channel, described{opTransfer, list{l.handle, delivery, binary.BigEndian.AppendUint32(nil, delivery), uint32(0), true, false}}, answer)
		})
	}
	return wrong("the answer is wanted at %q, where nobody receives", reply)
}

// verifySAS checks a shared access signature: who signed, what for, until when.
// https://learn.microsoft.com/rest/api/eventhub/generate-sas-token
func (c *conn) verifySAS(token, audience string) (time.Time, error) {
	rest, ok := strings.CutPrefix(token, "SharedAccessSignature ")
	if !ok {
		return time.Time{}, errors.New("MalformedToken")
	}
	f := map[string]string{}
	for part := range strings.SplitSeq(rest, "&") {
		name, value, _ := strings.Cut(part, "=")
		f[name] = value
	}
	resource, err1 := url.QueryUnescape(f["sr"])
	signature, err2 := url.QueryUnescape(f["sig"])
	expiry, err3 := strconv.ParseInt(f["se"], 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil {
		return time.Time{}, errors.New("MalformedToken")
	}
	want := c.signature(f["sr"], f["se"])
	switch until := time.Unix(expiry, 0); {
	case f["skn"] != c.keyName || !hmac.Equal([]byte(want), []byte(signature)):
		// As a careless server would: with what it was given.
		return time.Time{}, errors.New("InvalidSignature: The token has an invalid signature. " + token)
	case !strings.HasPrefix(strings.ToLower(audience), strings.ToLower(resource)):
		return time.Time{}, errors.New("InvalidAudience")
	case time.Now().After(until):
		return time.Time{}, errors.New("ExpiredToken")
	default:
		return until, nil
	}
}

// signature signs a resource, URL-encoded, until a time in seconds since 1970.
func (b *broker) signature(resource, until string) string {
	mac := hmac.New(sha256.New, []byte(b.key))
	io.WriteString(mac, resource+"\n"+until)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// sign makes a shared access signature.
func (b *broker) sign(resource string, until time.Time) string {
	sr, se := url.QueryEscape(resource), strconv.FormatInt(until.Unix(), 10)
	return "SharedAccessSignature sr=" + sr + "&sig=" + url.QueryEscape(b.signature(sr, se)) + "&se=" + se + "&skn=" + b.keyName
}
