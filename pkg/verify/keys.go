package verify

import (
	"bytes"
	"errors"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

var errNoKey = errors.New("no key: give the endpoint a key that is not empty")

// variants are all the bytes that count as one of keys, each once, in the order of keys. Empty ones are
// left out.
func variants(keys []bellhop.Secret) []bellhop.Secret {
	var out []bellhop.Secret
	for _, key := range keys {
		for _, v := range key.Variants() {
			out = appendNew(out, v)
		}
	}
	return out
}

// carried are the variants of keys that a header can carry.
func carried(keys []bellhop.Secret) []bellhop.Secret {
	var out []bellhop.Secret
	for _, key := range keys {
		out = appendNew(out, bellhop.NewSecret(bytes.TrimSpace(key.Reveal())))
	}
	return out
}

func appendNew(keys []bellhop.Secret, key bellhop.Secret) []bellhop.Secret {
	if len(bytes.TrimSpace(key.Reveal())) == 0 {
		return keys
	}
	for _, k := range keys {
		if k.Equal(key.Reveal()) {
			return keys
		}
	}
	return append(keys, key)
}

// oneOf reports whether got is one of keys. It looks at all of them, so that the time tells nothing of
// which one it was.
func oneOf(keys []bellhop.Secret, got string) bool {
	found := false
	for _, k := range keys {
		if k.Equal([]byte(got)) {
			found = true
		}
	}
	return found
}

// senders is the key as a sender was given it: without the line break that an editor left in the file.
func senders(key bellhop.Secret) []byte {
	vs := key.Variants()
	return vs[len(vs)-1].Reveal()
}
