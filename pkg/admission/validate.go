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

// configMap validates a configuration against the Secrets that there are.
func (h *webhook) configMap(q *request) verdict {
	return h.verdict(q, h.load(config.Overlay{Config: q.object}), nil)
}

// secret validates the configuration that there is as if the Secret were in place.
func (h *webhook) secret(q *request) verdict {
	if q.Name == "" || h.Namespace != "" && q.Namespace != h.Namespace {
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
	return h.verdict(q, h.load(config.Overlay{Secrets: with}), h.load(config.Overlay{Secrets: without}))
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

// load is what is wrong when the overlay is in place. Nothing of what is built stays.
func (h *webhook) load(o config.Overlay) bellhop.Problems {
	snapshot, problems := h.Loader.Over(o).Load()
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
		case p.MissingKey != "":
			v.warnings = append(v.warnings, missing(q, p))
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

// missing says which key there is not, and the command that adds it. A keyPath that can be no Secret's key is told
// of as check does.
func missing(q *request, p bellhop.Problem) string {
	if !plain.MatchString(p.MissingKey) {
		return words(p)
	}
	kubectl := "kubectl"
	if q.Namespace != "" {
		kubectl += " -n " + q.Namespace
	}
	value := "…"
	if strings.HasPrefix(p.Path, "endpoints[") {
		value = "$(bellhop keygen)"
	}
	name, key, named := strings.Cut(p.MissingKey, "/")
	switch {
	case !named:
		p.Message = fmt.Sprintf(`no key %q yet: add it to the Secret of keys: %s patch secret NAME -p "{\"stringData\":{\"%s\":\"%s\"}}"`,
			name, kubectl, name, value)
	case strings.HasSuffix(p.Path, "secretRef.key"):
		p.Message = fmt.Sprintf(`the Secret %q has no key %q yet: %s patch secret %s -p "{\"stringData\":{\"%s\":\"%s\"}}"`,
			name, key, kubectl, name, key, value)
	default:
		p.Message = fmt.Sprintf(`no Secret %q yet: %s create secret generic %s --from-literal=%s="%s"`, name, kubectl, name, key, value)
	}
	return words(p)
}
