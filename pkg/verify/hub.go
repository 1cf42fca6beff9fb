package verify

import (
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Hub believes signatures in the form of GitHub's and Bitbucket's hooks: the hash's name, "=", and the HMAC of the
// raw body in hex. SHA-1 is believed only where it is allowed. SHA256 believes nothing else.
type Hub struct {
	SHA256 *HMAC
	sha1   *HMAC // nil unless allowed
}

// NewHub makes a Hub; any of the keys verifies.
func NewHub(keys []bellhop.Secret, allowSHA1 bool) (*Hub, error) {
	h := &Hub{}
	var err error
	if h.SHA256, err = NewHMAC(SHA256, keys); err == nil && allowSHA1 {
		h.sha1, err = NewHMAC(SHA1, keys)
	}
	if err != nil {
		return nil, err
	}
	return h, nil
}

// Verify checks the value of a header against the body.
func (h *Hub) Verify(header, signature string, body []byte) error {
	switch {
	case !strings.HasPrefix(signature, string(SHA1)+"="):
		return h.SHA256.Prefixed(header, signature, body)
	case h.sha1 == nil:
		return bellhop.Reject(bellhop.ReasonSignatureWeak,
			"only a SHA-1 signature; let the sender sign with SHA-256, or set allowSHA1: true at the endpoint")
	}
	return h.sha1.Prefixed(header, signature, body)
}
