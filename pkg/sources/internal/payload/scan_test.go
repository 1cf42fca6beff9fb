package payload

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// transcript is all that a text says, in its order: the raw names and the values that are no objects or arrays.
type transcript []string

func (r *transcript) Member(s *Scanner, name []byte) {
	*r = append(*r, string(name))
	r.value(s)
}

func (r *transcript) value(s *Scanner) {
	switch s.next() {
	case '{':
		s.Object(r)
	case '[':
		for more := s.open(']'); more; more = s.another(']') {
			r.value(s)
		}
	case '"':
		var v string
		s.String(&v)
		*r = append(*r, v)
	default:
		begin := s.at
		s.skip()
		*r = append(*r, string(s.text[begin:s.at]))
	}
}

// transcribe is the transcript that jsontext makes of a valid text.
func transcribe(t *testing.T, text string) transcript {
	t.Helper()
	var r transcript
	dec := jsontext.NewDecoder(strings.NewReader(text), options)
	for {
		if kind, n := dec.StackIndex(dec.StackDepth()); kind == '{' && n%2 == 0 && dec.PeekKind() == '"' {
			name, err := dec.ReadValue()
			if err != nil {
				t.Fatal(err)
			}
			r = append(r, string(name[1:len(name)-1]))
			continue
		}
		token, err := dec.ReadToken()
		if errors.Is(err, io.EOF) {
			return r
		} else if err != nil {
			t.Fatal(err)
		}
		switch token.Kind() {
		case '{', '}', '[', ']':
		default:
			r = append(r, token.String())
		}
	}
}

// agree holds the scanner against jsontext, which decides what is JSON and what it says.
func agree(t *testing.T, text string) {
	t.Helper()
	valid := jsontext.Value(text).IsValid(options)
	var got transcript
	err := Decode([]byte(text), &got)
	if skipped := Decode([]byte(text), &leaf{}); (skipped == nil || errors.Is(skipped, ErrShape)) != valid {
		t.Errorf("skipping %.80q: error %v, valid is %v", text, skipped, valid)
	}
	switch object := strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{"); {
	case !valid:
		if err == nil || errors.Is(err, ErrShape) {
			t.Errorf("%.80q: error %v for what is not JSON", text, err)
		}
	case !object:
		if null := strings.Trim(text, " \t\r\n") == "null"; null != (err == nil) || !null && !errors.Is(err, ErrShape) {
			t.Errorf("%.80q: error %v for JSON that is no object", text, err)
		}
	case err != nil:
		t.Errorf("%.80q: %v", text, err)
	default:
		if want := transcribe(t, text); !slices.Equal(got, want) {
			t.Errorf("%.80q says %q, want %q", text, got, want)
		}
	}
}

// texts have every production of the grammar, and what comes close to one.
var texts = []string{
	"", " ", "null", "true", "[]", `"x"`, "0", "{}", "{}{}", "[{}]", "\ufeff{}", "{\"a\":1}\x00",
	" {\t\"a\"\n:\r[ 1 , {} , [ ] , \"\" ] , \"b\" : null } ", "{\"a\":\v1}", "{\"a\":1}\u00a0",
	`{"a":[true,false,null,nul,truE]}`, `{"a":"b","a":"c","\u0061":"d","text":"e","flag":false}`,
	`{"a":[0,-0,10,1.5,-1.50e+10,1E-0,0e1]}`, `{"a":[01]}`, `{"a":[1.]}`, `{"a":[.5]}`, `{"a":[+1]}`, `{"a":[1e]}`, `{"a":[-]}`, `{"a":0x1}`,
	`{"a":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\ud83d\uDEAD\udead"}`, `{"a":"\x"}`, `{"a":"\u12g4"}`, `{"a":"\u123"}`, `{"a":"\`, `{"a":"\u1`,
	"{\"a\":\"\xff naïve \xf0\x9f\x98\x80 \xed\xa0\x80\x7f\u0080\"}", "{\"\xff\":0}", "{\"a\":\"tab\tline\"}",
	`{"text":"the first and the only","list":[{"text":"` + strings.Repeat("long ", 300) + `"},null,{"flag":true}]}`,
	`{"list":[[{"list":{}}],1,{"text":[]}]}`, `{"a":1,}`, `{,}`, `{"a"}`, `{"a",1}`, `{"a":}`, `{a:1}`, `{1:1}`, `{"a":[1,]}`, `{"a":[,]}`, `{"a":[1 2]}`,
	`{"a":[}`, `{"a":1]`, `{"a":{]}`, `{"list":[{]}`,
}

// TestScanAsJSONText breaks every text at every place in many ways.
func TestScanAsJSONText(t *testing.T) {
	t.Parallel()
	for _, text := range texts {
		agree(t, text)
		for i := range min(len(text), 100) {
			agree(t, text[:i])
			agree(t, text[:i]+text[i+1:])
			for _, c := range "\x00\x1f !\"#\\/[]{},:-+.0eEu\x7f" {
				agree(t, text[:i]+string(c)+text[i+1:])
				agree(t, text[:i]+string(c)+text[i:])
			}
		}
	}
}

// Strings are read eight bytes at a time: every byte, at every place among the eight.
func TestScanEveryByte(t *testing.T) {
	t.Parallel()
	for c := range 0x100 {
		for n := range 17 {
			for _, tail := range []string{"", "behind", "behind it \xff\x80 and on"} {
				agree(t, `{"a":"`+strings.Repeat("x", n)+string([]byte{byte(c)})+tail+`","b":2}`)
			}
		}
	}
}

func TestScanDepth(t *testing.T) {
	t.Parallel()
	for n := maxDepth - 2; n <= maxDepth+2; n++ {
		agree(t, strings.Repeat(`{"a":`, n)+`0`+strings.Repeat(`}`, n))
		agree(t, strings.Repeat(`{"a":`, n-1)+`{}`+strings.Repeat(`}`, n-1))
		agree(t, `{"a":`+strings.Repeat(`[`, n-1)+strings.Repeat(`]`, n-1)+`}`)
		agree(t, strings.Repeat(`{"list":[`, n/2)+strings.Repeat(`]}`, n/2))
	}
	// Neighbours are not nested.
	agree(t, `{"a":[`+strings.Repeat(`{},[],[0],{"b":0},`, maxDepth)+`0]}`)
}

func TestScanErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                       "reading the body as json: unexpected EOF",
		`{"text":"secret`:        "reading the body as json: unexpected EOF",
		`{"text":"secret\x"}`:    "reading the body as json: a mistake at byte 15",
		`{"text":secret}`:        "reading the body as json: a mistake at byte 8",
		`{"text":"secret"} more`: "reading the body as json: a mistake at byte 18",
	} {
		if err := Decode([]byte(text), &leaf{}); err == nil || err.Error() != want {
			t.Errorf("%s: error %v, want %s", text, err, want)
		}
	}
}

// What is kept owes nothing to the text: a body is used again for the next request.
func TestScanCopies(t *testing.T) {
	t.Parallel()
	body := []byte(`{"text":"kept","list":[{"text":"a\nb"},{"text":"` + strings.Repeat("long ", 1000) + `"},{"text":"after"}]}`)
	var got leaf
	if err := Decode(body, &got); err != nil {
		t.Fatal(err)
	}
	clear(body)
	if got.Text != "kept" || got.List.Items[0].Text != "a\nb" || got.List.Items[1].Text != strings.Repeat("long ", 1000) || got.List.Items[2].Text != "after" {
		t.Errorf("kept %+v", got)
	}
}

func FuzzScan(f *testing.F) {
	for _, text := range texts {
		f.Add(text)
	}
	f.Fuzz(agree)
}
