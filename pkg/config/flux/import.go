package flux

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Import says the manifests as a whole configuration, with an endpoint for Flux's events if an Alert wants them.
// The steps are lines of shell that make the files of its secrets. mounted reads a Secret that is there
// already; nil if it is not.
func (s *Set) Import(mounted func(name string) map[string][]byte) (n Native, steps []string, ps bellhop.Problems) {
	around := Surroundings{Secret: func(name string) map[string][]byte {
		if keys := mounted(name); keys != nil {
			return keys
		}
		return s.Secret(name)
	}}
	taken := map[string]bool{}
	receivers := namesOf(s.receivers)
	for _, r := range s.receivers {
		taken[receivers.of(r.namespace, r.name)] = true
	}
	name := free(taken, "flux")
	around.Endpoints = []string{name}
	n, ps = s.Translate(around)
	if n.Alerts > 0 {
		at := &yaml.Node{}
		events := newMapping(at)
		events.setText("name", at, name)
		events.setText("source", at, "flux")
		events.setText("keyPath", at, name+".key")
		n.Endpoints = append(n.Endpoints, Item{Node: events.Node})
		steps = append(steps, fmt.Sprintf("bellhop keygen > secrets/%s.key", name))
	}
	names := s.secretNames()
	for _, r := range s.refs() {
		steps = append(steps, fmt.Sprintf("copy %s %s %s", word(r.namespace), word(r.name), word(names.of(r.namespace, r.name))))
	}
	if len(steps) > 0 {
		steps = append(slices.Clone(preparation), steps...)
	}
	return n, steps, ps
}

// preparation has a function of the shell: copy NAMESPACE NAME DIRECTORY writes a Secret's keys into files, byte
// by byte, since a line break more or less would be another URL.
var preparation = []string{
	`umask 077`,
	`mkdir -p secrets`,
	`copy() {`,
	`  mkdir -p "secrets/$3"`,
	`  for key in $(kubectl -n "$1" get secret "$2" -o go-template='{{range $key, $value := .data}}{{$key}} {{end}}'); do`,
	`    kubectl -n "$1" get secret "$2" -o go-template="{{index .data \"$key\" | base64decode}}" > "secrets/$3/$key"`,
	`  done`,
	`}`,
}

var plainWord = regexp.MustCompile(`^[\w.-]+$`)

// word is a text as one word of the shell.
func word(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
