package payload

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// leaf reads itself, member by member.
type leaf struct {
	Text string
	Flag bool
	List First[leaf]
}

func (l *leaf) Member(s *Scanner, name []byte) {
	switch string(name) {
	case "text":
		s.String(&l.Text)
	case "flag":
		s.Bool(&l.Flag)
	case "list":
		Elements(s, &l.List)
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		body string
		want leaf
		err  string // "shape", "json" or none
	}{
		{`{"text":"a","flag":true,"other":{"text":[1,{}]},"list":[{"text":"b"},null,{"flag":true}]}`,
			leaf{"a", true, First[leaf]{Items: []leaf{{Text: "b"}, {}, {Flag: true}}, Total: 3}}, ""},
		{`{"text":null,"flag":null,"list":null}`, leaf{}, ""},
		{`null`, leaf{}, ""},
		{` { "text" : "a\n\u00e9\ud83d\ude00" } `, leaf{Text: "a\né😀"}, ""},
		{"{\"text\":\"a\xff\"}", leaf{Text: "a\uFFFD"}, ""},
		{`{"text":"first","text":"last"}`, leaf{Text: "last"}, ""},
		{`{"list":[` + strings.Repeat(`{},`, 11) + `{"text":1}]}`, leaf{List: First[leaf]{Items: make([]leaf, 10), Total: 12}}, ""},
		{`{"text":1}`, leaf{}, "shape"},
		{`{"flag":"true"}`, leaf{}, "shape"},
		{`{"list":{}}`, leaf{}, "shape"},
		{`{"list":[1]}`, leaf{}, "shape"},
		{`[]`, leaf{}, "shape"},
		{`"x"`, leaf{}, "shape"},
		{``, leaf{}, "json"},
		{`{`, leaf{}, "json"},
		{`{"text":1`, leaf{}, "json"},
		{`{"flag":"x"}}`, leaf{}, "json"},
		{`{"text":"a"} x`, leaf{}, "json"},
		{`{"list":[{}`, leaf{}, "json"},
		{strings.Repeat(`{"list":[`, 100_000), leaf{}, "json"},
	} {
		var got leaf
		err := Decode([]byte(c.body), &got)
		switch {
		case (c.err == "shape") != errors.Is(err, ErrShape), (err == nil) != (c.err == ""):
			t.Errorf("%.60s: error %v, want %q", c.body, err, c.err)
		case err == nil && !cmp.Equal(got, c.want):
			t.Errorf("%.60s: %s", c.body, cmp.Diff(c.want, got))
		}
	}
}

func TestSalvage(t *testing.T) {
	t.Parallel()
	var got struct {
		A, B string
		N    int
		Sub  struct{ C string }
	}
	Salvage([]byte(`{"A":1,"N":1e999,"Sub":{"C":[]},"B":"kept"}`), &got)
	if got.B != "kept" || got.A != "" || got.N != 0 {
		t.Errorf("salvaged %+v", got)
	}
}

func TestTextAndPresent(t *testing.T) {
	t.Parallel()
	type fields struct {
		T Text
		P Present
	}
	for body, want := range map[string]fields{
		`{"T":"x","P":{}}`:    {"x", true},
		`{"T":{"x":1},"P":0}`: {"", true},
		`{"T":null,"P":null}`: {"", false},
		`{}`:                  {"", false},
	} {
		var got fields
		if err := Decode([]byte(body), &got); err != nil || got != want {
			t.Errorf("%s: %+v, error %v", body, got, err)
		}
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ contentType, body, want string }{
		{"application/json", "{}", "{}"},
		{"application/json; charset=utf-8", "{}", "{}"},
		{"Application/JSON;;", "{}", "{}"},
		{"application/cloudevents+json", "{}", "{}"},
		{"", "{}", "{}"},
		{"application/x-www-form-urlencoded", "payload=%7B%7D", "{}"},
		{"application/x-www-form-urlencoded; charset=utf-8", "a=b&payload=%7B%7D", "{}"},
		{"application/x-www-form-urlencoded", "payload=%zz", ""},
		{"application/x-www-form-urlencoded", "other=1", ""},
		{"text/plain", "{}", ""},
		{"multipart/form-data; boundary=x", "{}", ""},
	} {
		got, err := JSON(&bellhop.Request{Header: http.Header{"Content-Type": {c.contentType}}, Body: []byte(c.body)})
		if string(got) != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, error %v; want %q", c.contentType, got, err, c.want)
		}
	}
}
