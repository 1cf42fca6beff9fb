package gcr

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/describe"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/image"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/payload"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/text"
)

// headerMessageID comes with an unwrapped payload, if the subscription writes metadata.
// https://cloud.google.com/pubsub/docs/payload-unwrapping
const headerMessageID = "X-Goog-Pubsub-Message-Id"

// pushed is the body of a push, or, without a wrapper, what it would have wrapped.
// https://cloud.google.com/pubsub/docs/push#receive_push
type pushed struct {
	Message struct {
		Data      payload.Text `json:"data"` // base64
		MessageID payload.Text `json:"messageId"`
		SnakeID   payload.Text `json:"message_id"`
	} `json:"message"`
	notification
}

// notification: https://cloud.google.com/artifact-registry/docs/configure-notifications#examples
type notification struct {
	Action payload.Text `json:"action"` // INSERT or DELETE
	Digest payload.Text `json:"digest"` // host/name@sha256:…
	Tag    payload.Text `json:"tag"`    // host/name:tag; empty if none came or went
}

// Parse makes one event of every request.
func (s *source) Parse(r *bellhop.Request) ([]bellhop.Event, error) {
	mediaType := payload.MediaType(r)
	if !payload.IsJSON(mediaType) && !payload.IsJSONText(r.Body) {
		// Unwrapped, and of whatever type its publisher says: an error would bring it back for days.
		return other(r.Header.Get(headerMessageID), fmt.Sprintf("Pub/Sub message of %d bytes", len(r.Body))), nil
	}
	var p pushed
	if err := payload.Decode(r.Body, &p); errors.Is(err, payload.ErrShape) {
		payload.Salvage(r.Body, &p)
	} else if err != nil {
		return nil, err
	}
	id := string(p.Message.MessageID)
	if id == "" {
		id = string(p.Message.SnakeID)
	}
	if id == "" {
		id = r.Header.Get(headerMessageID)
	}
	n := p.notification
	if p.Message.Data != "" {
		n = wrapped(string(p.Message.Data))
	}
	return []bellhop.Event{n.event(id)}, nil
}

// wrapped is the notification in a message's data: JSON in base64 of either alphabet, padded or not. What is
// neither is published by somebody else, and no notification at all.
func wrapped(data string) (n notification) {
	data = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(data), "=")
	if text, err := base64.RawStdEncoding.DecodeString(data); err == nil && payload.Decode(text, &n) == nil {
		return n
	}
	return notification{}
}

// event is the notification as an event; of kind other if it is about no image.
func (n *notification) event(id string) bellhop.Event {
	e := bellhop.Event{DeliveryID: id, Type: string(n.Action), Image: image.Parse(string(n.Tag))}
	if digest := image.Parse(string(n.Digest)); e.Image.Tag == "" || e.Image.Name == digest.Name {
		e.Image.Name, e.Image.Digest = digest.Name, digest.Digest
	}
	// The console shows an image under its own name.
	if host, _, _ := strings.Cut(e.Image.Name, "/"); strings.HasSuffix(host, "gcr.io") || strings.HasSuffix(host, ".pkg.dev") {
		e.Link = text.Web("https://" + e.Image.Name)
	}
	switch action := strings.ToUpper(e.Type); {
	case e.Image.Name == "" || action != "INSERT" && action != "DELETE":
		e.Reason = text.Camel(strings.ToLower(e.Type))
		describe.Other(&e, text.Line("Pub/Sub message "+e.Type+" "+e.Image.String()), "")
	case action == "INSERT":
		image.Pushed(&e)
	case e.Image.Tag != "": // the tag is gone; the image may be there by its digest
		e.Kind, e.Reason = bellhop.KindImageDelete, "ImageDelete"
		image.Describe(&e, "untagged")
	default:
		image.Deleted(&e)
	}
	return e
}

func other(id, what string) []bellhop.Event {
	e := bellhop.Event{DeliveryID: id, Reason: "Event"}
	describe.Other(&e, what, "")
	return []bellhop.Event{e}
}
