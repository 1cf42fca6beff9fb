package verify

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
	"sync"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Hash names the hash function of an HMAC. The zero value is none.
type Hash string

// The hashes that senders use. SHA1 is for senders that offer nothing better; an HMAC with it is not broken,
// but it is nothing to begin with.
const (
	SHA1   Hash = "sha1"
	SHA256 Hash = "sha256"
	SHA512 Hash = "sha512"
)

// UnmarshalText reads sha1, sha256 or sha512.
func (h *Hash) UnmarshalText(text []byte) error {
	name := Hash(strings.ReplaceAll(strings.ToLower(string(text)), "-", ""))
	if name.size() == 0 {
		return fmt.Errorf("algorithm %q: write sha256, sha512 or sha1", text)
	}
	*h = name
	return nil
}

func (h Hash) size() int {
	switch h {
	case SHA1:
		return sha1.Size
	case SHA256:
		return sha256.Size
	case SHA512:
		return sha512.Size
	}
	return 0
}

func (h Hash) new() hash.Hash {
	switch h {
	case SHA1:
		return sha1.New()
	case SHA512:
		return sha512.New()
	}
	return sha256.New()
}

// HMAC verifies signatures made with any of its keys.
type HMAC struct {
	hash   Hash
	states []*sync.Pool // of *state, one pool a key
}

// state is a keyed hash that is reset rather than made anew, and room for what it yields.
type state struct {
	mac hash.Hash
	sum [sha512.Size]byte
}

// NewHMAC returns the verifier for a hash and keys, of which at least one must not be empty.
func NewHMAC(h Hash, keys []bellhop.Secret) (*HMAC, error) {
	if h.size() == 0 {
		return nil, fmt.Errorf("algorithm %q: write sha256, sha512 or sha1", string(h))
	}
	m := &HMAC{hash: h}
	for _, key := range variants(keys) {
		m.states = append(m.states, &sync.Pool{New: func() any {
			return &state{mac: hmac.New(h.new, key.Reveal())}
		}})
	}
	if len(m.states) == 0 {
		return nil, errNoKey
	}
	return m, nil
}

// Hex verifies the signature of body in hex of either case. The header that it came in is named in
// rejections; an empty signature counts as missing.
func (m *HMAC) Hex(header, signature string, body []byte) error {
	var got [sha512.Size]byte
	switch {
	case signature == "":
		return missing(header)
	case len(signature) != hex.EncodedLen(m.hash.size()):
		return m.malformed(header, "hex")
	}
	n, ok := decodeHex(got[:], signature)
	if !ok {
		return m.malformed(header, "hex")
	}
	return m.compare(header, got[:n], body)
}

// Base64 verifies the signature of body in base64, standard alphabet.
func (m *HMAC) Base64(header, signature string, body []byte) error {
	if signature == "" {
		return missing(header)
	}
	var got [sha512.Size + 2]byte
	if !decodeBase64(got[:], signature, m.hash.size()) {
		return m.malformed(header, "base64")
	}
	return m.compare(header, got[:m.hash.size()], body)
}

// Prefixed verifies a signature written as algorithm, "=" and hex: what GitHub, Bitbucket and many others
// send. The prefix of another algorithm is malformed.
func (m *HMAC) Prefixed(header, signature string, body []byte) error {
	if signature == "" {
		return missing(header)
	}
	name, digits, ok := strings.Cut(signature, "=")
	if !ok || name != string(m.hash) || digits == "" {
		return m.malformed(header, `"`+string(m.hash)+`=" and hex`)
	}
	return m.Hex(header, digits, body)
}

func (m *HMAC) compare(header string, got, body []byte) error {
	if m.sums(got, body) {
		return nil
	}
	return bellhop.Reject(bellhop.ReasonSignatureMismatch,
		"the signature in %s was made with another key or over another body; compare the secret at the sender with the endpoint's key", header)
}

// sums reports whether sum is the MAC of the parts, one after the other, under one of the keys.
func (m *HMAC) sums(sum []byte, parts ...[]byte) bool {
	for _, pool := range m.states {
		s := pool.Get().(*state)
		s.mac.Reset()
		for _, p := range parts {
			s.mac.Write(p)
		}
		equal := hmac.Equal(s.mac.Sum(s.sum[:0]), sum)
		pool.Put(s)
		if equal {
			return true
		}
	}
	return false
}

func (m *HMAC) malformed(header, form string) error {
	return bellhop.Reject(bellhop.ReasonSignatureMalformed, "%s is not %s of an HMAC-%s", header, form, strings.ToUpper(string(m.hash)))
}

func missing(header string) error {
	return bellhop.Reject(bellhop.ReasonSignatureMissing, "no %s header; set the endpoint's key as the secret at the sender", header)
}

// decodeHex is hex.Decode from a string into room that the caller has.
func decodeHex(dst []byte, src string) (int, bool) {
	for i := 0; i+1 < len(src); i += 2 {
		hi, lo := digit(src[i]), digit(src[i+1])
		if hi|lo > 0xf {
			return 0, false
		}
		dst[i/2] = hi<<4 | lo
	}
	return len(src) / 2, len(src)%2 == 0
}

// decodeBase64 decodes exactly n bytes into room that the caller has, two bytes more than n. One spelling
// counts: the decoder itself passes over line breaks, and over stray bits unless told.
func decodeBase64(dst []byte, src string, n int) bool {
	if len(src) != base64.StdEncoding.EncodedLen(n) {
		return false
	}
	got, err := base64.StdEncoding.Strict().Decode(dst, []byte(src))
	return err == nil && got == n
}

func digit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 0xff
}

// SignHex is the signature of body in lower-case hex, as a sender with the key makes it.
func SignHex(h Hash, key bellhop.Secret, body []byte) string {
	mac := hmac.New(h.new, senders(key))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// SignPrefixed is SignHex behind the algorithm and "=".
func SignPrefixed(h Hash, key bellhop.Secret, body []byte) string {
	return string(h) + "=" + SignHex(h, key, body)
}
