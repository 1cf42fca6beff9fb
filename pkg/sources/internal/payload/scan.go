package payload

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Members is an object that reads its own members from a Scanner. Decode reads such an object without
// reflection.
type Members interface {
	// Member reads the value of the member called name into where it belongs. A member that it does not know
	// it leaves unread. The name is as it stands in the text, between its quotes.
	Member(s *Scanner, name []byte)
}

// Scanner reads a JSON text once, from left to right, for those who know what they look for. It copies what is
// kept and nothing else.
//
// It exists because a push is read between the request and its answer: with jsontext's decoder parsing 8 kB took
// 19 µs, three times as long as checking their signature, and jsontext's check that it is JSON alone took 8.
// With the scanner all of it takes half as long (BenchmarkPush of the github source).
//
// What is JSON it decides as jsontext does, which its tests hold it against: all of the text is checked, what is
// skipped included, with duplicate names and invalid UTF-8 allowed.
//
// Its methods report nothing, Decode does. The first mistake ends the text, and with it every loop. A value of
// another type than the one asked for is skipped.
type Scanner struct {
	text   []byte
	at     int  // what is read next
	depth  int  // of the objects and arrays around it
	broken bool // text was cut off at a mistake
	unfit  bool // a value was of another type
	kept   strings.Builder
}

// maxDepth is how deep objects and arrays may be nested, as for jsontext.
const maxDepth = 10_000

// scan reads a JSON text that is one object. Its errors are those of Decode.
func scan(body []byte, into Members) error {
	s := Scanner{text: body}
	s.Object(into)
	if s.next(); s.at < len(s.text) {
		s.fail()
	}
	switch {
	case s.broken && s.at == len(body):
		return fmt.Errorf("reading the body as json: %w", io.ErrUnexpectedEOF)
	case s.broken:
		return fmt.Errorf("reading the body as json: a mistake at byte %d", s.at)
	case s.unfit:
		return ErrShape
	}
	return nil
}

// Object reads an object; null leaves m as it is.
func (s *Scanner) Object(m Members) {
	if s.fits('{') {
		s.object(m)
	}
}

// Elements reads an array of objects; null leaves f as it is.
func Elements[T any, P interface {
	*T
	Members
}](s *Scanner, f *First[T]) {
	if !s.fits('[') {
		return
	}
	for more := s.open(']'); more; more = s.another(']') {
		if f.Total++; f.Total > maxItems {
			s.skip()
			continue
		}
		if f.Items == nil {
			f.Items = make([]T, 0, 4) // most pushes have no more commits
		}
		f.Items = append(f.Items, *new(T))
		s.Object(P(&f.Items[len(f.Items)-1]))
	}
}

// String reads a string; null leaves v as it is.
func (s *Scanner) String(v *string) {
	if s.fits('"') {
		var buf [256]byte
		*v = s.keep(unquote(buf[:0], s.quoted()))
	}
}

// Bool reads a truth value; null leaves v as it is.
func (s *Scanner) Bool(v *bool) {
	if s.next() == 't' {
		*v = true
		s.skip()
	} else if s.fits('f') {
		*v = false
		s.skip()
	}
}

// fits reports whether the next value begins with the byte that tells its type. Any other value it skips.
func (s *Scanner) fits(first byte) bool {
	c := s.next()
	if c == first {
		return true
	}
	s.unfit = s.unfit || c != 'n'
	s.skip()
	return false
}

// skip reads a value of any type.
func (s *Scanner) skip() {
	switch s.next() {
	case '"':
		s.quoted()
	case '{':
		s.object(nil)
	case '[':
		for more := s.open(']'); more; more = s.another(']') {
			s.skip()
		}
	case 't':
		s.literal("true")
	case 'f':
		s.literal("false")
	case 'n':
		s.literal("null")
	default:
		s.number()
	}
}

// object reads an object for m, or for nobody if m is nil.
func (s *Scanner) object(m Members) {
	for more := s.open('}'); more; more = s.another('}') {
		if s.next() != '"' {
			s.fail()
			return
		}
		name := s.quoted()
		if s.next() != ':' {
			s.fail()
			return
		}
		s.at++
		value := s.at
		if m != nil {
			m.Member(s, name[1:len(name)-1])
		}
		if s.at == value {
			s.skip()
		}
	}
}

// open reads the beginning of an object or array, and all of an empty one. It reports whether a member or an
// element follows.
func (s *Scanner) open(end byte) bool {
	if s.depth == maxDepth {
		s.fail()
		return false
	}
	s.at++
	if s.next() == end {
		s.at++
		return false
	}
	s.depth++
	return true
}

// another reads the comma or the end behind a member or an element, and reports whether another one follows.
func (s *Scanner) another(end byte) bool {
	switch s.next() {
	case ',':
		s.at++
		return true
	case end:
		s.at++
		s.depth--
	default:
		s.fail()
	}
	return false
}

// quoted reads a string and returns it as it stands in the text, with its quotes.
func (s *Scanner) quoted() []byte {
	const ones = 0x0101010101010101
	text, begin := s.text, s.at
	at := begin + 1
	for at < len(text) {
		// Eight bytes at a time to the next quote, backslash or control character: of those, the first is the
		// lowest byte whose difference has its high bit set. Exclusive or with 2 puts the quote right behind
		// the control characters; what is not ASCII is masked.
		if at+8 <= len(text) {
			w := binary.LittleEndian.Uint64(text[at : at+8])
			found := ((w ^ ones*2 - ones*('"'-1)) | (w ^ ones*'\\' - ones)) &^ w & (ones << 7)
			if found == 0 {
				at += 8
				continue
			}
			at += bits.TrailingZeros64(found) / 8
		}
		n := 1
		switch c := text[at]; {
		case c == '"':
			s.at = at + 1
			return text[begin:s.at]
		case c == '\\':
			n = escape(text[at:])
		case c < ' ':
			n = 0
		}
		if n == 0 {
			break
		}
		at += n
	}
	s.at = at
	s.fail()
	return []byte(`""`)
}

// escape is the length of the escape that the text begins with, 0 if it is none.
func escape(text []byte) int {
	if len(text) < 2 || text[0] != '\\' {
		return 0
	}
	switch text[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(text) < 6 {
			return 0
		}
		for _, c := range text[2:6] {
			if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
				return 0
			}
		}
		return 6
	}
	return 0
}

// unquote returns what a string of valid JSON says, appended to buf unless the text has it literally. Invalid UTF-8
// becomes U+FFFD.
func unquote(buf, quoted []byte) []byte {
	if inner := quoted[1 : len(quoted)-1]; bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return inner
	}
	buf, _ = jsontext.AppendUnquote(buf, quoted) // the error is about invalid UTF-8
	return buf
}

// keep copies what a string says. The strings of a message are small and live as long as each other, so that
// many share an allocation.
func (s *Scanner) keep(b []byte) string {
	if s.kept.Cap()-s.kept.Len() < len(b) {
		s.kept = strings.Builder{}
		s.kept.Grow(max(len(b), 1<<10))
	}
	begin := s.kept.Len()
	s.kept.Write(b)
	return s.kept.String()[begin:]
}

func (s *Scanner) literal(word string) {
	if !bytes.HasPrefix(s.text[s.at:], []byte(word)) {
		s.fail()
		return
	}
	s.at += len(word)
}

func (s *Scanner) number() {
	if s.is('-') {
		s.at++
	}
	if s.is('0') {
		s.at++
	} else {
		s.digits()
	}
	if s.is('.') {
		s.at++
		s.digits()
	}
	if s.is('e') || s.is('E') {
		s.at++
		if s.is('+') || s.is('-') {
			s.at++
		}
		s.digits()
	}
}

// digits reads one digit or more.
func (s *Scanner) digits() {
	begin := s.at
	for s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9' {
		s.at++
	}
	if s.at == begin {
		s.fail()
	}
}

// is reports whether the next byte is c.
func (s *Scanner) is(c byte) bool { return s.at < len(s.text) && s.text[s.at] == c }

// next goes over white space to the next byte, which it returns; at the end of the text it returns 0.
func (s *Scanner) next() byte {
	for s.at < len(s.text) {
		c := s.text[s.at]
		if c > ' ' || c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return c
		}
		s.at++
	}
	return 0
}

// fail ends the text at a mistake.
func (s *Scanner) fail() {
	s.text, s.broken = s.text[:s.at], true
}
