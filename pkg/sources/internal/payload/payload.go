// Package payload reads the bodies of verified requests.
//
// The sender is known by then, so it is read leniently: duplicate names and invalid UTF-8 are no reason to
// lose an event. JSON of another shape than expected is told apart from what is no JSON at all, because the
// first is an event of kind other and the second a broken request.
package payload

import (
	"errors"
	"fmt"
	"mime"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

var (
	options = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	// lenient goes on after a value of the wrong type.
	lenient = json.JoinOptions(options, jsonv1.ReportErrorsWithLegacySemantics(true))
)

// ErrShape is what Decode returns for JSON that does not fit.
var ErrShape = errors.New("json of an unknown shape")

// Decode decodes JSON into a pointer to a struct, which reads itself if it is Members. It returns ErrShape for
// JSON of another shape, any other error for what is not JSON.
func Decode(body []byte, into any) error {
	if m, ok := into.(Members); ok {
		return scan(body, m)
	}
	err := json.Unmarshal(body, into, options)
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*json.SemanticError](err); ok && jsontext.Value(body).IsValid(options) {
		return ErrShape
	}
	return fmt.Errorf("reading the body as json: %w", err)
}

// Salvage decodes what fits of JSON that does not: every value of another type stays what it is in into.
func Salvage(body []byte, into any) {
	// That something fails is known already.
	_ = json.Unmarshal(body, into, lenient)
}

// JSON is the JSON text of a request: its body, or for a form the field "payload". A content type that says
// neither is an error; none at all counts as JSON.
func JSON(r *bellhop.Request) ([]byte, error) {
	switch mediaType := MediaType(r); {
	case mediaType == "" || IsJSON(mediaType):
		return r.Body, nil
	case mediaType == "application/x-www-form-urlencoded":
		if p := bellhop.FormPayload(r.Body); p != nil {
			return p, nil
		}
		return nil, errors.New(`reading the form: no field "payload"`)
	default:
		return nil, fmt.Errorf("content type %q: let the sender post application/json", mediaType)
	}
}

// MediaType is the content type of a request in lower case, without parameters.
func MediaType(r *bellhop.Request) string {
	header := r.Header.Get("Content-Type")
	if header == "application/json" { // what nearly all senders say
		return header
	}
	mediaType, _, err := mime.ParseMediaType(header)
	if err != nil {
		mediaType, _, _ = strings.Cut(header, ";")
		mediaType = strings.ToLower(strings.TrimSpace(mediaType))
	}
	return mediaType
}

// IsJSON reports whether a media type is JSON.
func IsJSON(mediaType string) bool {
	return mediaType == "application/json" || mediaType == "text/json" || strings.HasSuffix(mediaType, "+json")
}

// Text is a JSON string, and empty for any other JSON: for fields whose type differs from sender to sender.
type Text string

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (t *Text) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() != '"' {
		return dec.SkipValue()
	}
	quoted, err := dec.ReadValue()
	if err != nil {
		return err
	}
	*t = Text(unquote(nil, quoted))
	return nil
}

// Present reports whether a field holds anything but null: for objects of which only the presence matters.
type Present bool

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (p *Present) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	*p = dec.PeekKind() != 'n'
	return dec.SkipValue()
}

// First are the first elements of an array, ten at most, and how many there are in all: a push
// may bring thousands of commits, of which a message shows a few.
type First[T any] struct {
	Items []T
	Total int
}

// maxItems is how many elements First keeps.
const maxItems = 10

var errUnfit = errors.New("a value of another type")

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (f *First[T]) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	switch dec.PeekKind() {
	case 'n':
		return dec.SkipValue()
	case '[':
	default:
		if err := dec.SkipValue(); err != nil {
			return err
		}
		return errUnfit
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != ']' {
		if f.Total++; f.Total > maxItems {
			if _, err := dec.ReadValue(); err != nil {
				return err
			}
			continue
		}
		f.Items = append(f.Items, *new(T))
		if err := json.UnmarshalDecode(dec, &f.Items[len(f.Items)-1]); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
}

// IsJSONText reports whether a body without a content type is JSON.
func IsJSONText(body []byte) bool { return jsontext.Value(body).IsValid(options) }
