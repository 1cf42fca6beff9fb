package bellhoptest

import (
	"bytes"
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// FuzzVerify looks for a request that is believed without the key, beginning with the requests of
// testdata/*.txtar. The endpoint's keys are not the cases'.
func FuzzVerify(f *testing.F, kind bellhop.Kind[bellhop.Source]) {
	f.Helper()
	var sources []bellhop.Source
	for _, key := range [][]byte{otherKey, otherWhs} {
		source, err := kind.Build(bellhop.Setup{Name: "fuzz", Keys: []bellhop.Secret{bellhop.NewSecret(key)}})
		if err == nil {
			sources = append(sources, source)
		}
	}
	for _, c := range Cases(f) {
		if sc := newSourceCase(f, kind, c); sc.request != nil {
			for name := range sc.request.Header {
				f.Add(name, sc.request.Header.Get(name), sc.request.Body)
			}
		}
	}
	f.Fuzz(func(t *testing.T, name, value string, body []byte) {
		r := &bellhop.Request{Header: map[string][]string{"Content-Type": {"application/json"}}, Body: body, Remote: testPeer, Time: testTime}
		r.Header.Set("Webhook-Id", "msg_1")
		r.Header.Set("Webhook-Timestamp", "1767323045") // testTime
		r.Header.Set(name, value)
		for _, source := range sources {
			err := source.Verify(t.Context(), r)
			if kind.Source.Verification != bellhop.ByPath {
				mustReject(t, nil, err)
			}
		}
	})
}

// FuzzParse looks for an event type and a body that break Parse, beginning with the requests of testdata/*.txtar.
func FuzzParse(f *testing.F, kind bellhop.Kind[bellhop.Source]) {
	f.Helper()
	var requests []*bellhop.Request
	for i, c := range Cases(f) {
		sc := newSourceCase(f, kind, c)
		if sc.request != nil {
			f.Add(uint(i), sc.request.Header.Get(kind.Source.EventHeader), sc.request.Body)
			requests = append(requests, sc.request)
		}
	}
	build := func(key []byte) (bellhop.Source, error) {
		return kind.Build(bellhop.Setup{Name: "fuzz", Keys: []bellhop.Secret{bellhop.NewSecret(key)}})
	}
	source, err := build(testKey)
	if err != nil { // not a key of this kind's form: Standard Webhooks wants base64
		if source, err = build(otherWhs); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, like uint, event string, body []byte) {
		r := withBody(requests[like%uint(len(requests))], body)
		if kind.Source.EventHeader != "" {
			r.Header.Set(kind.Source.EventHeader, event)
		}
		before := bytes.Clone(body)
		events, err := source.Parse(r)
		if err == nil {
			wellFormed(t, events)
		}
		if !bytes.Equal(before, r.Body) {
			t.Error("Parse changed the body")
		}
	})
}
