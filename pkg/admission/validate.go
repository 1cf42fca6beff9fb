package admission

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/config"
)

// configMap validates a configuration against the Secrets that there are. Those of another namespace are not known:
// there, none is missed.
func (h *webhook) configMap(q *request) verdict {
	loader := h.Loader.Over(config.Overlay{Config: q.object})
	if h.elsewhere(q) {
		loader.Store = unknown{}
	}
	return h.verdict(q, load(loader), nil)
}

// elsewhere reports whether the object is of another namespace than this process, which has no Secret of that one.
func (h *webhook) elsewhere(q *request) bool { return h.Namespace != "" && q.Namespace != h.Namespace }

// unknown is a config.SecretStore that has nothing.
type unknown struct{}

func (unknown) Ready() error { return nil }

func (unknown) Revision() uint64 { return 0 }

func (unknown) Secret(string) (map[string][]byte, bool) { return nil, false }

func (unknown) WithKey(string) []string { return nil }

// secret validates the configuration that there is as if the Secret were in place.
func (h *webhook) secret(q *request) verdict {
	if q.Name == "" || h.elsewhere(q) {
		return verdict{} // nothing here refers to it
	}
	with := map[string]map[string][]byte{q.Name: q.object}
	without := map[string]map[string][]byte{q.Name: nil}
	if files := h.files(q); len(files) > 0 {
		with[""], without[""] = files, map[string][]byte{}
		for key := range files {
			without[""][key] = nil
		}
	}
	return h.verdict(q, load(h.Loader.Over(config.Overlay{Secrets: with})), load(h.Loader.Over(config.Overlay{Secrets: without})))
}

// files are the Secret's keys as files right in the directory of secrets; those that go away are nil. An update is
// of the Secret that is mounted there if one of its old keys is a file there with the same bytes. A new Secret
// may come to be mounted there: its keys stand for those files that are not there.
func (h *webhook) files(q *request) map[string][]byte {
	if h.Loader.Secrets == "" || h.Loader.Store != nil {
		return nil
	}
	on := func(key string) ([]byte, bool) {
		if filepath.Base(key) != key || strings.HasPrefix(key, "..") {
			return nil, false
		}
		data, err := os.ReadFile(filepath.Join(h.Loader.Secrets, key))
		return data, err == nil
	}
	files := map[string][]byte{}
	if q.old == nil {
		for key, data := range q.object {
			if _, there := on(key); !there {
				files[key] = data
			}
		}
		return files
	}
	mounted := false
	for key, old := range q.old {
		files[key] = nil
		data, there := on(key)
		mounted = mounted || there && len(data) > 0 && bytes.Equal(data, old)
	}
	if !mounted {
		return nil
	}
	maps.Copy(files, q.object)
	return files
}

// load is what is wrong with what the loader reads. Nothing of what is built stays.
func load(l *config.Loader) bellhop.Problems {
	snapshot, problems := l.Load()
	for _, p := range snapshot.Providers {
		p.Close()
	}
	return problems
}

// verdict tells of the problems that are not among those without the object. What is missing is always told.
func (h *webhook) verdict(q *request, problems, without bellhop.Problems) verdict {
	var v verdict
	for _, p := range problems {
		switch {
		case p.MissingKey != "" && h.elsewhere(q):
		case p.MissingKey != "":
			v.warnings = append(v.warnings, missing(q, p)...)
		case slices.Contains(without, p):
		case p.Severity == bellhop.Warning:
			v.warnings = append(v.warnings, words(p))
		default:
			v.refusals = append(v.refusals, words(p))
		}
	}
	return v
}

// plain are names as Secrets and their keys have them, which a shell leaves alone.
var plain = regexp.MustCompile(`^[-._a-zA-Z0-9]+(/[-._a-zA-Z0-9]+)?$`)

// missing says which key there is not, and in a line of its own, which the API does not cut, the command that adds it.
// A keyPath that can be no Secret's key is told of as check does.
func missing(q *request, p bellhop.Problem) []string {
	if !plain.MatchString(p.MissingKey) {
		return []string{words(p)}
	}
	command := "kubectl"
	if q.Namespace != "" {
		command += " -n " + q.Namespace
	}
	value := "…"
	if strings.HasPrefix(p.Path, "endpoints[") {
		value = "$(bellhop keygen)"
	}
	const patch = ` patch secret %s -p "{\"stringData\":{\"%s\":\"%s\"}}"`
	name, key, named := strings.Cut(p.MissingKey, "/")
	switch {
	case !named:
		p.Message = fmt.Sprintf("no key %q yet: add it to the Secret of keys, here called NAME", name)
		command += fmt.Sprintf(patch, "NAME", name, value)
	case strings.HasSuffix(p.Path, "secretRef.key"):
		p.Message = fmt.Sprintf("the Secret %q has no key %q yet: add it", name, key)
		command += fmt.Sprintf(patch, name, key, value)
	default:
		p.Message = fmt.Sprintf("no Secret %q yet: create it", name)
		command += fmt.Sprintf(` create secret generic %s --from-literal=%s="%s"`, name, key, value)
	}
	return []string{words(p), command}
}
