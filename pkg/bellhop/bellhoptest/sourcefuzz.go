package bellhoptest

import (
	"bytes"
	"errors"
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// FuzzVerify looks for a request that is believed without the key, beginning with the requests of
// testdata/*.txtar, with the settings of each. The endpoint's keys are not the cases', nor is the key of the
// issuer.
func FuzzVerify(f *testing.F, kind bellhop.Kind[bellhop.Source]) {
	f.Helper()
	var sources []bellhop.Source
	settled := map[string]bool{}
	nobodys := NewIssuerKey(suiteKey().ID)
	settle := func(settings []byte) {
		if settled[string(settings)] {
			return
		}
		settled[string(settings)] = true
		for _, key := range [][]byte{otherKey, otherWhs} {
			setup := sourceSetup("fuzz", nobodys, key)
			setup.Decode = decodeSettings(settings, nil)
			source, err := build(kind, setup)
			if err == nil && verification(kind, source) != bellhop.ByPath {
				sources = append(sources, source)
			}
		}
	}
	settle(nil)
	for _, c := range Cases(f) {
		settings, _ := c.File("settings.yaml")
		settle(settings)
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
			if !errors.Is(err, bellhop.ErrPing) {
				mustReject(t, nil, err)
			}
		}
	})
}

// FuzzParse looks for an event type and a body that break Parse, beginning with the requests of testdata/*.txtar.
func FuzzParse(f *testing.F, kind bellhop.Kind[bellhop.Source]) {
	f.Helper()
	var (
		requests []*bellhop.Request
		sources  []bellhop.Source
	)
	for _, c := range Cases(f) {
		sc := newSourceCase(f, kind, c)
		if sc.request == nil {
			continue
		}
		source, err := build(kind, sc.setup)
		if err != nil {
			f.Fatalf("%s: %v", c.Name, err)
		}
		f.Add(uint(len(requests)), sc.request.Header.Get(kind.Source.EventHeader), sc.request.Body)
		requests, sources = append(requests, sc.request), append(sources, source)
	}
	f.Fuzz(func(t *testing.T, like uint, event string, body []byte) {
		like %= uint(len(requests))
		r, source := withBody(requests[like], body), sources[like]
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
