package flux

import (
	"maps"
	"slices"
)

// names are what objects of one kind are called without their namespaces.
type names map[string]map[string]bool // by name, the namespaces that use it

func (n names) add(namespace, name string) {
	if n[name] == nil {
		n[name] = map[string]bool{}
	}
	n[name][namespace] = true
}

// of is the name, with the namespace before it if another one uses it, too. Which file comes first makes no
// difference: no message goes to the provider of another namespace because a file was added.
func (n names) of(namespace, name string) string {
	if len(n[name]) > 1 {
		return namespace + "-" + name
	}
	return name
}

func namesOf[S any](manifests []*manifest[S]) names {
	n := names{}
	for _, m := range manifests {
		n.add(m.namespace, m.name)
	}
	return n
}

// secretNames are the Secrets that are written or referred to.
func (s *Set) secretNames() names {
	n := names{}
	for _, secret := range s.secrets {
		n.add(secret.namespace, secret.name)
	}
	for _, r := range s.refs() {
		n.add(r.namespace, r.name)
	}
	return n
}

// refs are the Secrets that manifests refer to, in their order, each once.
func (s *Set) refs() []object {
	var all []object
	seen := map[object]bool{}
	note := func(namespace string, refs ...*ref) {
		for _, r := range refs {
			o := object{"Secret", namespace, r.String()}
			if o.name != "" && !seen[o] {
				seen[o], all = true, append(all, o)
			}
		}
	}
	for _, p := range s.providers {
		note(p.namespace, p.spec.SecretRef, p.spec.CertSecretRef, p.spec.ProxySecretRef)
	}
	for _, r := range s.receivers {
		note(r.namespace, r.spec.SecretRef)
	}
	return all
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
