package azureeventhub_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// What AMQP 1.0 writes on the wire, as much of it as an event hub and its clients use. Reading is strict: what is
// no valid encoding, or not the type that the specification asks for, is an error.
// https://docs.oasis-open.org/amqp/core/v1.0/os/amqp-core-types-v1.0-os.html

// Values are nil, bool, uint8, uint16, uint32, uint64, int8, int16, int32, int64, float32, float64, timestamp, uuid,
// []byte, string, symbol, list, mapping, array and described.
type (
	symbol    string
	timestamp int64 // milliseconds since 1970
	uuid      [16]byte
	list      []any
	mapping   []pair
	array     []any
	described struct {
		code  uint64
		value any
	}
	pair struct{ key, value any }
)

var errShort = errors.New("the data ends within a value")

// get is the value of a key.
func (m mapping) get(key any) any {
	for _, p := range m {
		if p.key == key {
			return p.value
		}
	}
	return nil
}

// reader reads values off the front of data.
type reader struct{ data []byte }

func (r *reader) take(n uint64) ([]byte, error) {
	if n > uint64(len(r.data)) {
		return nil, errShort
	}
	b := r.data[:n]
	r.data = r.data[n:]
	return b, nil
}

// unsigned reads a big-endian number of n bytes.
func (r *reader) unsigned(n int) (uint64, error) {
	b, err := r.take(uint64(n))
	if err != nil {
		return 0, err
	}
	var v uint64
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v, nil
}

const maxDepth = 16

func (r *reader) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, errors.New("too deep")
	}
	code, err := r.unsigned(1)
	if err != nil {
		return nil, err
	}
	if code == 0 {
		return r.described(depth)
	}
	return r.body(byte(code), depth)
}

func (r *reader) described(depth int) (any, error) {
	descriptor, err := r.value(depth + 1)
	if err != nil {
		return nil, err
	}
	code, ok := descriptor.(uint64)
	if !ok {
		return nil, fmt.Errorf("a descriptor of type %T", descriptor)
	}
	v, err := r.value(depth + 1)
	return described{code, v}, err
}

// body reads what follows a constructor.
func (r *reader) body(code byte, depth int) (any, error) {
	switch code {
	case 0x40:
		return nil, nil
	case 0x41:
		return true, nil
	case 0x42:
		return false, nil
	case 0x43:
		return uint32(0), nil
	case 0x44:
		return uint64(0), nil
	case 0x45:
		return list{}, nil
	}
	widths := map[byte]int{5: 1, 6: 2, 7: 4, 8: 8, 9: 16}
	if width, fixed := widths[code>>4]; fixed {
		b, err := r.take(uint64(width))
		if err != nil {
			return nil, err
		}
		return fixedWidth(code, b)
	}
	var size uint64
	var err error
	wide := 1
	if code&0x10 != 0 {
		wide = 4
	}
	if code < 0xa0 {
		return nil, fmt.Errorf("no constructor: %#x", code)
	}
	if size, err = r.unsigned(wide); err != nil {
		return nil, err
	}
	b, err := r.take(size)
	if err != nil {
		return nil, err
	}
	switch code {
	case 0xa0, 0xb0:
		return append([]byte{}, b...), nil
	case 0xa1, 0xb1:
		if !utf8.Valid(b) {
			return nil, errors.New("a string that is not UTF-8")
		}
		return string(b), nil
	case 0xa3, 0xb3:
		for _, c := range b {
			if c > 0x7F {
				return nil, errors.New("a symbol that is not ASCII")
			}
		}
		return symbol(b), nil
	}
	in := &reader{b}
	count, err := in.unsigned(wide)
	if err != nil {
		return nil, err
	}
	var v any
	switch code {
	case 0xc0, 0xd0:
		v, err = in.list(count, depth)
	case 0xc1, 0xd1:
		v, err = in.mapping(count, depth)
	case 0xe0, 0xf0:
		v, err = in.array(count, depth)
	default:
		err = fmt.Errorf("no constructor: %#x", code)
	}
	if err == nil && len(in.data) > 0 {
		err = errors.New("a compound value is longer than what is in it")
	}
	return v, err
}

func fixedWidth(code byte, b []byte) (any, error) {
	var u uint64
	if len(b) <= 8 {
		for _, c := range b {
			u = u<<8 | uint64(c)
		}
	}
	switch code {
	case 0x50:
		return uint8(u), nil
	case 0x51:
		return int8(u), nil
	case 0x52:
		return uint32(u), nil
	case 0x53:
		return u, nil
	case 0x54:
		return int32(int8(u)), nil
	case 0x55:
		return int64(int8(u)), nil
	case 0x56:
		if u > 1 {
			return nil, errors.New("a boolean that is neither")
		}
		return u == 1, nil
	case 0x60:
		return uint16(u), nil
	case 0x61:
		return int16(u), nil
	case 0x70:
		return uint32(u), nil
	case 0x71:
		return int32(u), nil
	case 0x72:
		return math.Float32frombits(uint32(u)), nil
	case 0x80:
		return u, nil
	case 0x81:
		return int64(u), nil
	case 0x82:
		return math.Float64frombits(u), nil
	case 0x83:
		return timestamp(u), nil
	case 0x98:
		return uuid(b), nil
	}
	return nil, fmt.Errorf("no constructor: %#x", code)
}

func (r *reader) list(count uint64, depth int) (list, error) {
	l := list{}
	for range count {
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		l = append(l, v)
	}
	return l, nil
}

func (r *reader) mapping(count uint64, depth int) (mapping, error) {
	values, err := r.list(count, depth)
	if err != nil {
		return nil, err
	}
	if len(values)%2 != 0 {
		return nil, errors.New("a map with a key without a value")
	}
	m := mapping{}
	for i := 0; i < len(values); i += 2 {
		switch values[i].(type) {
		case string, symbol, uint32, uint64, int32, int64:
		default:
			return nil, fmt.Errorf("a map's key of type %T", values[i])
		}
		if m.get(values[i]) != nil {
			return nil, fmt.Errorf("a map with the key %v twice", values[i])
		}
		m = append(m, pair{values[i], values[i+1]})
	}
	return m, nil
}

func (r *reader) array(count uint64, depth int) (array, error) {
	code, err := r.unsigned(1)
	if err != nil {
		return nil, err
	}
	a := array{}
	for range count {
		if len(r.data) == 0 && count > 1<<16 {
			return nil, errShort // many of what takes no room
		}
		v, err := r.body(byte(code), depth+1)
		if err != nil {
			return nil, err
		}
		a = append(a, v)
	}
	return a, nil
}

// appendValue writes a value. It panics on what it does not know: that is a mistake in the test.
func appendValue(b []byte, v any) []byte {
	sized := func(code byte, data []byte) []byte {
		b = append(b, code)
		b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
		return append(b, data...)
	}
	switch v := v.(type) {
	case nil:
		return append(b, 0x40)
	case bool:
		if v {
			return append(b, 0x41)
		}
		return append(b, 0x42)
	case uint8:
		return append(b, 0x50, v)
	case uint16:
		return binary.BigEndian.AppendUint16(append(b, 0x60), v)
	case uint32:
		return binary.BigEndian.AppendUint32(append(b, 0x70), v)
	case uint64:
		return binary.BigEndian.AppendUint64(append(b, 0x80), v)
	case int32:
		return binary.BigEndian.AppendUint32(append(b, 0x71), uint32(v))
	case []byte:
		return sized(0xb0, v)
	case string:
		return sized(0xb1, []byte(v))
	case symbol:
		return sized(0xb3, []byte(v))
	case list:
		items := binary.BigEndian.AppendUint32(nil, uint32(len(v)))
		for _, item := range v {
			items = appendValue(items, item)
		}
		return sized(0xd0, items)
	case mapping:
		items := binary.BigEndian.AppendUint32(nil, uint32(2*len(v)))
		for _, p := range v {
			items = appendValue(appendValue(items, p.key), p.value)
		}
		return sized(0xd1, items)
	case array: // of symbols
		items := append(binary.BigEndian.AppendUint32(nil, uint32(len(v))), 0xb3)
		for _, item := range v {
			s := string(item.(symbol))
			items = append(binary.BigEndian.AppendUint32(items, uint32(len(s))), s...)
		}
		return sized(0xf0, items)
	case described:
		return appendValue(append(b, 0x00, 0x53, byte(v.code)), v.value)
	}
	panic(fmt.Sprintf("a value of type %T", v))
}

// The parts of a message.
// https://docs.oasis-open.org/amqp/core/v1.0/os/amqp-core-messaging-v1.0-os.html#section-message-format
const (
	sectionHeader                = 0x70
	sectionDeliveryAnnotations   = 0x71
	sectionAnnotations           = 0x72
	sectionProperties            = 0x73
	sectionApplicationProperties = 0x74
	sectionData                  = 0x75
	sectionSequence              = 0x76
	sectionValue                 = 0x77
	sectionFooter                = 0x78
)

// message is a message, read.
type message struct {
	annotations mapping
	properties  list
	application mapping
	data        [][]byte
	value       any
}

// The places of a message's properties.
const (
	propertyMessageID = iota
	_
	_
	_
	propertyReplyTo
	propertyCorrelationID
	propertyContentType
)

func (m message) property(i int) any {
	if i >= len(m.properties) {
		return nil
	}
	return m.properties[i]
}

func readMessage(data []byte) (message, error) {
	var m message
	r := &reader{data}
	last := uint64(0)
	for len(r.data) > 0 {
		v, err := r.value(0)
		if err != nil {
			return m, err
		}
		s, ok := v.(described)
		if !ok || s.code < sectionHeader || s.code > sectionFooter {
			return m, fmt.Errorf("no section of a message: %v", v)
		}
		if s.code < last || s.code == last && s.code != sectionData {
			return m, fmt.Errorf("section %#x after %#x", s.code, last)
		}
		last = s.code
		switch s.code {
		case sectionHeader, sectionDeliveryAnnotations, sectionFooter:
		case sectionAnnotations:
			m.annotations, ok = s.value.(mapping)
			for _, p := range m.annotations {
				if _, is := p.key.(symbol); !is {
					return m, fmt.Errorf("an annotation's key of type %T", p.key)
				}
			}
		case sectionProperties:
			if m.properties, ok = s.value.(list); ok {
				err = m.checkProperties()
			}
		case sectionApplicationProperties:
			m.application, ok = s.value.(mapping)
			for _, p := range m.application {
				if _, is := p.key.(string); !is {
					return m, fmt.Errorf("an application property's key of type %T", p.key)
				}
			}
		case sectionData:
			var b []byte
			b, ok = s.value.([]byte)
			m.data = append(m.data, b)
		case sectionValue:
			m.value = s.value
		default:
			return m, fmt.Errorf("section %#x is not used here", s.code)
		}
		if err != nil {
			return m, err
		}
		if !ok {
			return m, fmt.Errorf("section %#x of type %T", s.code, s.value)
		}
	}
	return m, nil
}

func (m message) checkProperties() error {
	for i, v := range m.properties {
		ok := v == nil
		switch v.(type) {
		case string:
			ok = true
		case symbol:
			ok = i == propertyContentType
		}
		if i == propertyContentType && v != nil {
			_, ok = v.(symbol)
		}
		if !ok {
			return fmt.Errorf("property %d of type %T", i, v)
		}
	}
	return nil
}
