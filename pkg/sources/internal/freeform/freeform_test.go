package freeform

import (
	"net/http"
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		contentType, body, title string
		kind                     bellhop.EventKind
	}{
		{"application/json", `{"title":"backup done"}`, "backup done", bellhop.KindOther},
		{"application/vnd.x+json; charset=utf-8", `{"message":"backup done"}`, "backup done", bellhop.KindOther},
		{"", `{"title":"backup done"}`, "backup done", bellhop.KindOther},
		{"application/x-www-form-urlencoded", "payload=%7B%22title%22%3A%22backup+done%22%7D", "backup done", bellhop.KindOther},
		{"application/x-www-form-urlencoded", "title=backup", "title=backup", bellhop.KindOther},
		{"text/plain", "backup done\nin 3 s", "backup done", bellhop.KindOther},
		{"text/plain", `{"title":"not looked at"}`, `{"title":"not looked at"}`, bellhop.KindOther},
		{"", "backup {", "backup {", bellhop.KindOther},
		{"application/octet-stream", "\xff\x00", "2 bytes of application/octet-stream", bellhop.KindOther},
		{"", "\xff\x00", "2 bytes of unknown type", bellhop.KindOther},
		{"", "", "an empty message", bellhop.KindOther},
		{"application/json", "[1]", "event", bellhop.KindOther},
		{"application/json", `{"involvedObject":{"kind":"Kustomization","name":"apps"},"reason":"ReconciliationSucceeded"}`, "Kustomization apps: reconciliation succeeded", bellhop.KindFlux},
	} {
		r := &bellhop.Request{Header: http.Header{}, Body: []byte(c.body)}
		if c.contentType != "" {
			r.Header.Set("Content-Type", c.contentType)
		}
		events, err := Parse(r)
		if err != nil || len(events) != 1 || events[0].Title != c.title || events[0].Kind != c.kind {
			t.Errorf("%s %q: %+v, %v; want %s %q", c.contentType, c.body, events, err, c.kind, c.title)
		}
	}
	for _, body := range []string{"", "{", "backup done"} {
		r := &bellhop.Request{Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(body)}
		if events, err := Parse(r); err == nil {
			t.Errorf("%q is no JSON: %+v", body, events)
		}
	}
}
