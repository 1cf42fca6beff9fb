package bellhop

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
)

const redacted = "<secret>"

// Secret is bytes that must not be seen. It prints as <secret> in every verb, log and encoding, cannot be
// compared with ==, and compares in constant time with Equal. The zero value is empty and equals nothing.
type Secret struct {
	_ [0]func() // no ==
	b *[]byte   // a pointer, so that no printer that follows values reaches the bytes
}

// NewSecret copies b.
func NewSecret(b []byte) Secret {
	c := bytes.Clone(b)
	return Secret{b: &c}
}

// Empty reports whether there is nothing in it.
func (s Secret) Empty() bool { return s.b == nil || len(*s.b) == 0 }

// Reveal returns the bytes, for the MAC or the header that needs them. They must not be changed, and go
// nowhere near a log or an error.
func (s Secret) Reveal() []byte {
	if s.b == nil {
		return nil
	}
	return *s.b
}

// RevealString is Reveal as text without surrounding white space, which editors and `kubectl create secret`
// leave behind and which no header or URL can carry.
func (s Secret) RevealString() string { return string(bytes.TrimSpace(s.Reveal())) }

// Equal compares in a time that depends neither on the content nor on the lengths. An empty secret equals
// nothing, so that an unset key never lets an unset header in.
func (s Secret) Equal(got []byte) bool {
	if s.Empty() {
		return false
	}
	a, b := sha256.Sum256(s.Reveal()), sha256.Sum256(got)
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// Variants are the secret as it is and, if it ends in a line break, without that break: a key file written
// by an editor works for a sender that was given the line.
func (s Secret) Variants() []Secret {
	b := s.Reveal()
	t := bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
	if len(t) == len(b) || len(t) == 0 {
		return []Secret{s}
	}
	return []Secret{s, NewSecret(t)}
}

// Fingerprint is the last element of a hook's path: lower-case hex SHA-256 of the raw key and the registry
// host (flux-recv's field, usually empty).
func (s Secret) Fingerprint(registryHost string) string {
	h := sha256.New()
	h.Write(s.Reveal())
	io.WriteString(h, registryHost)
	return hex.EncodeToString(h.Sum(nil))
}

// Format prints <secret> for every verb.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// String is <secret>.
func (s Secret) String() string { return redacted }

// LogValue is <secret>.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText is <secret>: JSON and YAML show no more than a log does.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
