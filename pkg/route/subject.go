package route

import (
	"bytes"
	"errors"
	"net/http"
	"reflect"
	"strconv"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// The names that expressions and templates start from.
const (
	eventName   = "event"
	bodyName    = "body"
	headersName = "headers"
)

// subject is one event as an expression sees it: the variables, and the value of `event`. It is used by one
// evaluation and decodes the body when that first asks for it.
type subject struct {
	event   *bellhop.Event
	decoded bool
	body    any
}

// ResolveName and Parent make it CEL's activation.
func (s *subject) ResolveName(name string) (any, bool) {
	switch name {
	case eventName:
		return s, true
	case bodyName:
		return s.payload(), true
	case headersName:
		return s.headers(), true
	}
	return nil, false
}

func (s *subject) Parent() cel.Activation { return nil }

func (s *subject) payload() any {
	if !s.decoded {
		s.decoded, s.body = true, decode(s.event.Payload())
	}
	return s.body
}

func (s *subject) headers() ref.Val {
	return headerMap{types.NewStringStringMap(types.DefaultTypeAdapter, s.event.Headers)}
}

// headerMap is a map whose keys are found whatever their case.
type headerMap struct{ traits.Mapper }

func (h headerMap) Find(key ref.Val) (ref.Val, bool) { return h.Mapper.Find(canonical(key)) }
func (h headerMap) Get(key ref.Val) ref.Val          { return h.Mapper.Get(canonical(key)) }
func (h headerMap) Contains(key ref.Val) ref.Val     { return h.Mapper.Contains(canonical(key)) }

func canonical(key ref.Val) ref.Val {
	if s, ok := key.(types.String); ok {
		return types.String(http.CanonicalHeaderKey(string(s)))
	}
	return key
}

// decode is the payload as maps, lists, strings, bools, int64 and, where that does not fit, float64. What is
// not JSON is a string, nothing is nil, as in Event.JSON.
func decode(payload []byte) any {
	if len(payload) == 0 {
		return nil
	}
	var v any
	if err := json.Unmarshal(payload, &v, lenient); err != nil {
		return string(bytes.ToValidUTF8(payload, []byte("\uFFFD")))
	}
	return v
}

// lenient takes what encoding/json takes, and keeps whole numbers whole.
var lenient = json.JoinOptions(
	jsontext.AllowDuplicateNames(true),
	jsontext.AllowInvalidUTF8(true),
	json.WithUnmarshalers(json.UnmarshalFromFunc(func(dec *jsontext.Decoder, v *any) error {
		if dec.PeekKind() != '0' {
			return errors.ErrUnsupported // not this one
		}
		number, err := dec.ReadValue()
		if err != nil {
			return err
		}
		if n, err := strconv.ParseInt(string(number), 10, 64); err == nil {
			*v = n
			return nil
		}
		*v, err = strconv.ParseFloat(string(number), 64)
		return err
	})),
)

// eventType is the CEL type of `event`: the fields of bellhop.Event by their JSON names, each read straight
// from the struct, and body.
var eventType = cel.ObjectType("bellhop.Event")

// eventTypes lets CEL see a subject as a bellhop.Event. Everything but body and headers is what the native
// types derive from the struct, so that a new field of Event needs no word here.
type eventTypes struct {
	types.Provider
	types.Adapter
}

func (t eventTypes) FindStructFieldNames(structType string) ([]string, bool) {
	names, ok := t.Provider.FindStructFieldNames(structType)
	if structType == eventType.TypeName() {
		names = append(names, bodyName)
	}
	return names, ok
}

func (t eventTypes) FindStructFieldType(structType, field string) (*types.FieldType, bool) {
	if structType != eventType.TypeName() {
		return t.Provider.FindStructFieldType(structType, field)
	}
	switch field {
	case bodyName:
		return &types.FieldType{
			Type:    types.DynType,
			IsSet:   func(obj any) bool { return len(subjectOf(obj).event.Payload()) > 0 },
			GetFrom: func(obj any) (any, error) { return subjectOf(obj).payload(), nil },
		}, true
	case headersName:
		return &types.FieldType{
			Type:    types.NewMapType(types.StringType, types.StringType),
			IsSet:   func(obj any) bool { return len(subjectOf(obj).event.Headers) > 0 },
			GetFrom: func(obj any) (any, error) { return subjectOf(obj).headers(), nil },
		}, true
	}
	native, ok := t.Provider.FindStructFieldType(structType, field)
	if !ok {
		return nil, false
	}
	return &types.FieldType{
		Type:    native.Type,
		IsSet:   func(obj any) bool { return native.IsSet(subjectOf(obj).event) },
		GetFrom: func(obj any) (any, error) { return native.GetFrom(subjectOf(obj).event) },
	}, true
}

// NativeToValue lets a whole event be a value: compared, put in a list.
func (t eventTypes) NativeToValue(value any) ref.Val {
	if s, ok := value.(*subject); ok {
		value = s.event
	}
	return t.Adapter.NativeToValue(value)
}

// subjectOf is the value of `event`, or of an event that went through a list or a map.
func subjectOf(obj any) *subject {
	switch o := obj.(type) {
	case *subject:
		return o
	case *bellhop.Event:
		return &subject{event: o}
	}
	return &subject{event: new(bellhop.Event)}
}

var goEventType = reflect.TypeFor[bellhop.Event]()
