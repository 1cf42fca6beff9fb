package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// fieldManager is whose an object's managedFields say an annotation is.
const fieldManager = "bellhop"

// pageSize is how many objects are asked for at a time.
const pageSize = 500

// Objects is that of bellhop.Cluster. Lists are in the order of the API, which is that of names.
func (c *Cluster) Objects(ctx context.Context, q bellhop.ObjectQuery) ([]bellhop.Object, error) {
	conn, err := c.connect()
	if err != nil {
		return nil, err
	}
	api, forget, err := conn.served(ctx, q.APIVersion, q.Kind, q.Namespace)
	if err != nil {
		return nil, err
	}
	if q.Name != "" {
		u, err := api.Get(ctx, q.Name, metav1.GetOptions{})
		if err != nil {
			return nil, explain("reading", err, forget)
		}
		return []bellhop.Object{object(q, u)}, nil
	}
	selector, err := labels.ValidatedSelectorFromSet(q.Labels)
	if err != nil {
		return nil, bellhop.Permanent(fmt.Errorf("the labels select nothing: %w", err))
	}
	var all []bellhop.Object
	options := metav1.ListOptions{LabelSelector: selector.String(), Limit: pageSize}
	for {
		page, err := api.List(ctx, options)
		if err != nil {
			return nil, explain("listing", err, forget)
		}
		for i := range page.Items {
			all = append(all, object(q, &page.Items[i]))
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return all, nil
		}
	}
}

func object(q bellhop.ObjectQuery, u *unstructured.Unstructured) bellhop.Object {
	return bellhop.Object{
		ObjectReference: bellhop.ObjectReference{
			APIVersion: q.APIVersion, Kind: q.Kind, Namespace: u.GetNamespace(), Name: u.GetName(),
			UID: string(u.GetUID()), ResourceVersion: u.GetResourceVersion(),
		},
		Content: u.Object,
	}
}

// annotation is a JSON merge patch of one annotation and nothing else.
// https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply
type annotation struct {
	Metadata struct {
		Annotations map[string]string `json:"annotations"`
		// ResourceVersion makes the patch conditional.
		ResourceVersion string `json:"resourceVersion,omitempty"`
	} `json:"metadata"`
}

// Annotate is that of bellhop.Cluster. The namespace is Bellhop's own if o has none.
func (c *Cluster) Annotate(ctx context.Context, o bellhop.ObjectReference, name, value string) error {
	conn, err := c.connect()
	if err != nil {
		return err
	}
	api, forget, err := conn.served(ctx, o.APIVersion, o.Kind, o.Namespace)
	if err != nil {
		return err
	}
	var patch annotation
	patch.Metadata.Annotations = map[string]string{name: value}
	patch.Metadata.ResourceVersion = o.ResourceVersion
	body, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	if _, err = api.Patch(ctx, o.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: fieldManager}); err != nil {
		return explain("annotating", err, forget)
	}
	return nil
}

// explain says what was being done, and what the error means. The API's own text names the object.
func explain(doing string, err error, forget func()) error {
	err = classed(err)
	if errors.Is(err, bellhop.ErrNotFound) {
		forget()
	}
	return fmt.Errorf("%s: %w", doing, err)
}
