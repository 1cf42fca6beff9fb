package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// resource is what a kind is served as.
type resource struct {
	name       schema.GroupVersionResource
	namespaced bool
}

// resources remembers what kinds are served as. Client-go's discovery would do the same, and bring every
// built-in type of Kubernetes along.
type resources struct {
	mu    sync.Mutex
	known map[schema.GroupVersionKind]resource
}

func (r *resources) get(kind schema.GroupVersionKind) (resource, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	found, ok := r.known[kind]
	return found, ok
}

func (r *resources) put(kind schema.GroupVersionKind, found resource) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil {
		r.known = map[schema.GroupVersionKind]resource{}
	}
	r.known[kind] = found
}

func (r *resources) forget(kind schema.GroupVersionKind) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, kind)
}

// served is the API of a kind's objects in a namespace. forget is to be called when it answers 404, which may
// mean that the kind is served no more.
func (c *connection) served(ctx context.Context, apiVersion, kind, namespace string) (api dynamic.ResourceInterface, forget func(), err error) {
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil || gv.Version == "" || kind == "" {
		return nil, nil, bellhop.Permanent(fmt.Errorf("%q and %q are no apiVersion and kind: write such as source.toolkit.fluxcd.io/v1 and GitRepository", apiVersion, kind))
	}
	gvk := gv.WithKind(kind)
	found, ok := c.resources.get(gvk)
	if !ok {
		if found, err = discover(ctx, c.raw, gvk); err != nil {
			return nil, nil, err
		}
		c.resources.put(gvk, found)
	}
	forget = func() { c.resources.forget(gvk) }
	if !found.namespaced {
		return c.objects.Resource(found.name), forget, nil
	}
	if namespace == "" {
		namespace = c.namespace
	}
	return c.objects.Resource(found.name).Namespace(namespace), forget, nil
}

// discover asks what a kind is served as.
// https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
func discover(ctx context.Context, api rest.Interface, kind schema.GroupVersionKind) (resource, error) {
	path := []string{"/apis", kind.Group, kind.Version}
	if kind.Group == "" {
		path = []string{"/api", kind.Version}
	}
	body, err := api.Get().AbsPath(path...).Do(ctx).Raw()
	switch {
	case apierrors.IsForbidden(err):
		plural, _ := meta.UnsafeGuessKindToResource(kind)
		return resource{plural, true}, nil
	case apierrors.IsNotFound(err):
		return resource{}, fmt.Errorf("the cluster does not serve %s: install it, or write the apiVersion that it serves", kind.GroupVersion())
	case err != nil:
		return resource{}, fmt.Errorf("asking what the cluster serves as %s: %w", kind.GroupVersion(), classed(err))
	}
	var list metav1.APIResourceList
	if err := json.Unmarshal(body, &list); err != nil {
		return resource{}, fmt.Errorf("asking what the cluster serves as %s: %w", kind.GroupVersion(), err)
	}
	var kinds []string
	for _, r := range list.APIResources {
		if strings.Contains(r.Name, "/") {
			continue // gitrepositories/status
		}
		if r.Kind == kind.Kind {
			return resource{kind.GroupVersion().WithResource(r.Name), r.Namespaced}, nil
		}
		kinds = append(kinds, r.Kind)
	}
	hint := ""
	if near, ok := bellhop.Nearest(kind.Kind, kinds); ok {
		hint = fmt.Sprintf(": did you mean %s?", near)
	}
	return resource{}, fmt.Errorf("the cluster has no kind %s in %s%s", kind.Kind, kind.GroupVersion(), hint)
}
