package flux

import (
	"encoding/base64"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/config/strict"
)

// secret is a Secret that is written into a file.
// https://kubernetes.io/docs/concepts/configuration/secret/
type secret struct {
	object
	keys map[string][]byte
	// broken: a value is missing, and that was said.
	broken bool
	item   Item
}

func (s *Set) addSecret(file, path string, doc *yaml.Node) bellhop.Problems {
	var d struct {
		APIVersion string                `yaml:"apiVersion"`
		Kind       string                `yaml:"kind"`
		Metadata   *yaml.Node            `yaml:"metadata"`
		Type       string                `yaml:"type"`
		Immutable  bool                  `yaml:"immutable"`
		Data       map[string]*yaml.Node `yaml:"data"`
		StringData map[string]*yaml.Node `yaml:"stringData"`
	}
	ps := strict.Decode(file, path, doc, nil, &d)
	o, _, wrong := s.claim("Secret", file, path, doc, d.Metadata)
	ps = append(ps, wrong...)
	at := func(p bellhop.Problem) {
		ps = append(ps, strict.Locate(file, path, doc, bellhop.Problems{p})...)
	}
	keys := map[string][]byte{}
	// Values are never quoted: most of them are secret.
	for _, key := range sortedKeys(d.Data) {
		value, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(valueOf(d.Data[key])), ""))
		if err != nil {
			at(bellhop.Wrong("data."+key, "is no base64: write what `base64 -w0` makes of the value, or the value itself under stringData"))
			continue
		}
		keys[key] = value
	}
	for _, key := range sortedKeys(d.StringData) {
		if n := d.StringData[key]; n != nil && n.Kind != yaml.ScalarNode {
			at(bellhop.Wrong("stringData."+key, "is no text: write the value in quotes, or as a block that begins with |"))
			continue
		}
		keys[key] = []byte(valueOf(d.StringData[key]))
	}
	if wrong == nil {
		s.secrets = append(s.secrets, &secret{o, keys, len(ps) > 0, Item{file, path, doc}})
	}
	return ps
}

// Secret is the Secret that is called name in the translation, nil if none is written.
func (s *Set) Secret(name string) map[string][]byte {
	if found := s.find(name); found != nil {
		return found.keys
	}
	return nil
}

// Broken reports whether that Secret has values that cannot be read, which Add said.
func (s *Set) Broken(name string) bool {
	found := s.find(name)
	return found != nil && found.broken
}

func (s *Set) find(name string) *secret {
	if s.written == nil && len(s.secrets) > 0 {
		s.written = map[string]*secret{}
		names := s.secretNames()
		for _, secret := range s.secrets {
			s.written[names.of(secret.namespace, secret.name)] = secret
		}
	}
	return s.written[name]
}

// SecretNames are the names of the Secrets that are written, sorted.
func (s *Set) SecretNames() []string {
	s.find("")
	return sortedKeys(s.written)
}
