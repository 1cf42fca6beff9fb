package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// SecretStore holds Secrets that are no files, such as those of a namespace of Kubernetes.
type SecretStore interface {
	// Ready waits, for seconds at most, until there is something to read. The error says why there is nothing.
	Ready() error
	// Revision is another number whenever one of the methods below would answer otherwise than before.
	Revision() uint64
	// Secret is what the Secret called name holds, by key; false if there is no such Secret. It is not written to.
	Secret(name string) (map[string][]byte, bool)
	// WithKey are the names of the Secrets that are labelled as Bellhop's configuration and have the key, sorted.
	WithKey(key string) []string
}

// errUnready stands for a problem that was reported once and is not to be repeated for every key.
var errUnready = errors.New("there are no Secrets yet")

// storedSecrets is what one Load reads from a SecretStore.
type storedSecrets struct {
	SecretStore
	unready  bool
	revision uint64
	read     map[string][]byte // by NAME/KEY
}

// open waits for the store. What is read from then on is of one revision, or moved says so.
func (s *storedSecrets) open() error {
	err := s.Ready()
	s.unready = err != nil
	s.revision = s.Revision()
	return err
}

func (s *storedSecrets) moved() bool { return s.Revision() != s.revision }

// secret is all keys of a Secret.
func (s *storedSecrets) secret(name string) (map[string][]byte, error) {
	if s.unready {
		return nil, errUnready
	}
	keys, ok := s.Secret(name)
	if !ok {
		return nil, fs.ErrNotExist
	}
	for key, data := range keys {
		s.read[name+"/"+key] = data
	}
	return keys, nil
}

// key is the key that keyPath means, and its NAME/KEY: of NAME/KEY that of the Secret, of a bare KEY that of
// the labelled Secret that has it.
func (s *storedSecrets) key(keyPath string) (data []byte, place string, err error) {
	if s.unready {
		return nil, "", errUnready
	}
	name, key, qualified := strings.Cut(path.Clean(keyPath), "/")
	if !qualified {
		key = name
		names := s.WithKey(key)
		switch len(names) {
		case 0:
			return nil, "", fs.ErrNotExist
		case 1:
			name = names[0]
		default:
			return nil, "", fmt.Errorf("it is in the Secrets %s: write which one, such as %s/%s", strings.Join(names, " and "), names[0], key)
		}
	}
	keys, _ := s.Secret(name)
	data, ok := keys[key]
	if !ok {
		return nil, "", fs.ErrNotExist
	}
	place = name + "/" + key
	s.read[place] = data
	return data, place, nil
}

// missingKey says what a keyPath was looked up as, and how to make it.
func missingKey(keyPath string) string {
	if name, key, qualified := strings.Cut(path.Clean(keyPath), "/"); qualified {
		return fmt.Sprintf("as the key %q of the Secret %q; add it to the Secret", key, name)
	}
	return `as a key of the Secrets labelled bellhop.dev/config: "true"; add it to one of them`
}
