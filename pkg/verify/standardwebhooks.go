package verify

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// The headers of Standard Webhooks, in the case of net/http.
const (
	HeaderWebhookID        = "Webhook-Id"
	HeaderWebhookTimestamp = "Webhook-Timestamp"
	HeaderWebhookSignature = "Webhook-Signature"
)

const (
	// whsec begins a key of Standard Webhooks in its usual spelling.
	whsec = "whsec_"
	// tolerance is how far a timestamp may be off in either direction.
	tolerance = 5 * time.Minute
	// maxSignatures bounds what one request can make us compare; a sender that rotates sends two.
	maxSignatures = 16
)

// StandardWebhooks verifies the symmetric scheme (v1) of https://github.com/standard-webhooks/standard-webhooks:
// an HMAC-SHA256 over id, timestamp and body, several signatures at a time, five minutes of tolerance
// measured against Request.Time. The asymmetric scheme (v1a) is not understood.
type StandardWebhooks struct{ mac *HMAC }

// IsStandardWebhooksKey reports whether a key is spelled as one of Standard Webhooks: it begins with whsec_.
func IsStandardWebhooksKey(key bellhop.Secret) bool {
	return bytes.HasPrefix(bytes.TrimSpace(key.Reveal()), []byte(whsec))
}

// NewStandardWebhooks returns the verifier for keys, each base64 with or without whsec_ in front.
func NewStandardWebhooks(keys []bellhop.Secret) (*StandardWebhooks, error) {
	m := &HMAC{hash: SHA256}
	for _, k := range keys {
		raw, err := standardWebhooksKey(k)
		if err != nil {
			return nil, err
		}
		m.states = append(m.states, &sync.Pool{New: func() any {
			return &state{mac: hmac.New(sha256.New, raw)}
		}})
	}
	if len(m.states) == 0 {
		return nil, errNoKey
	}
	return &StandardWebhooks{m}, nil
}

func standardWebhooksKey(key bellhop.Secret) ([]byte, error) {
	text := bytes.TrimRight(bytes.TrimPrefix(bytes.TrimSpace(key.Reveal()), []byte(whsec)), "=")
	raw := make([]byte, base64.RawStdEncoding.DecodedLen(len(text)))
	n, err := base64.RawStdEncoding.Decode(raw, text)
	switch {
	case err != nil:
		// The decoder's error would quote the offset of a wrong byte; that much of a key stays inside, too.
		return nil, errors.New("the key is not base64: copy it from the sender as it is shown there, whsec_ and all")
	case n == 0:
		return nil, errNoKey
	}
	return raw[:n], nil
}

// Verify believes r if one of its signatures was made with one of the keys, in time.
func (s *StandardWebhooks) Verify(r *bellhop.Request) error {
	id, stamp, signatures := r.Header.Get(HeaderWebhookID), r.Header.Get(HeaderWebhookTimestamp), r.Header.Get(HeaderWebhookSignature)
	if signatures == "" {
		return missing("webhook-signature")
	}
	if id == "" {
		return bellhop.Reject(bellhop.ReasonSignatureMalformed, "no webhook-id header; it is part of what is signed")
	}
	sent, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return bellhop.Reject(bellhop.ReasonTimestampInvalid, "webhook-timestamp is missing or not a number of seconds since 1970")
	}
	// In whole seconds, as the sender counts, and without a difference that could overflow.
	if now, limit := r.Time.Unix(), int64(tolerance/time.Second); sent < now-limit || sent > now+limit {
		return bellhop.Reject(bellhop.ReasonTimestampStale, "webhook-timestamp is more than %v off; check both clocks", tolerance)
	}
	understood := false
	for i := 0; i < maxSignatures && signatures != ""; i++ {
		var one string
		one, signatures, _ = strings.Cut(signatures, " ")
		digits, ok := strings.CutPrefix(one, "v1,")
		if !ok {
			continue
		}
		var sum [sha256.Size + 2]byte
		if !decodeBase64(sum[:], digits, sha256.Size) {
			continue
		}
		understood = true
		if s.mac.sums(sum[:sha256.Size], []byte(id), dot, []byte(stamp), dot, r.Body) {
			return nil
		}
	}
	if !understood {
		return bellhop.Reject(bellhop.ReasonSignatureMalformed, `webhook-signature holds no "v1," and base64 of an HMAC-SHA256`)
	}
	return bellhop.Reject(bellhop.ReasonSignatureMismatch,
		"the signature in webhook-signature was made with another key or over another body; compare the signing secret at the sender with the endpoint's key")
}

var dot = []byte(".")

// SignStandardWebhooks sets the three headers as a sender with the key does. An id and a timestamp that are
// there already are kept. A key that is not base64 signs nothing.
func SignStandardWebhooks(key bellhop.Secret, h http.Header, now time.Time, body []byte) {
	raw, err := standardWebhooksKey(key)
	if err != nil {
		return
	}
	mac := hmac.New(sha256.New, raw)
	if h.Get(HeaderWebhookID) == "" {
		mac.Write(body)
		h.Set(HeaderWebhookID, "msg_"+base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18]))
		mac.Reset()
	}
	if h.Get(HeaderWebhookTimestamp) == "" {
		h.Set(HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	}
	mac.Write([]byte(h.Get(HeaderWebhookID) + "." + h.Get(HeaderWebhookTimestamp) + "."))
	mac.Write(body)
	h.Set(HeaderWebhookSignature, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}
