package fluxreconcile_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
	"github.com/bellhop-dev/bellhop/pkg/providers/fluxreconcile"
)

// TestProvider runs testdata/*.txtar: objects.yaml is what the cluster holds, annotated what is set in it.
func TestProvider(t *testing.T) {
	t.Parallel()
	bellhoptest.RunProvider(t, fluxreconcile.Kind, bellhoptest.ProviderOptions{
		Setup: func(t *testing.T, c *bellhoptest.Case, setup *bellhop.Setup) {
			objects, _ := c.File("objects.yaml")
			cluster := newCluster(t, objects)
			setup.Cluster = cluster
			t.Cleanup(func() {
				done := strings.Join(cluster.done(), "\n")
				if _, expected := c.File("annotated"); expected || done != "" {
					c.Golden(t, "annotated", []byte(done))
				}
			})
		},
	})
}

// ownNamespace is Bellhop's in these tests.
const ownNamespace = "bellhop"

// cluster is a bellhop.Cluster in memory.
type cluster struct {
	mu      sync.Mutex
	objects []bellhop.Object
	log     []string // what was annotated
	// refuse, if set, is asked before an object is read or annotated.
	refuse func(doing string, o bellhop.ObjectReference) error
}

// newCluster reads YAML documents.
func newCluster(t *testing.T, manifests []byte) *cluster {
	t.Helper()
	c := &cluster{}
	for dec := yaml.NewDecoder(bytes.NewReader(manifests)); ; {
		var doc any
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return c
		}
		if err != nil {
			t.Fatalf("objects.yaml: %v", err)
		}
		text, err := json.Marshal(doc)
		if err != nil {
			t.Fatalf("objects.yaml: %v", err)
		}
		c.add(t, text)
	}
}

func (c *cluster) add(t *testing.T, object []byte) {
	t.Helper()
	var o struct {
		bellhop.ObjectReference
		Metadata bellhop.ObjectReference
	}
	content := map[string]any{}
	if err := errors.Join(json.Unmarshal(object, &o), json.Unmarshal(object, &content)); err != nil {
		t.Fatal(err)
	}
	ref := bellhop.ObjectReference{
		APIVersion: o.APIVersion, Kind: o.Kind, Namespace: o.Metadata.Namespace, Name: o.Metadata.Name, ResourceVersion: "1",
	}
	c.objects = append(c.objects, bellhop.Object{ObjectReference: ref, Content: content})
}

func (c *cluster) refused(doing string, o bellhop.ObjectReference) error {
	if c.refuse == nil {
		return nil
	}
	return c.refuse(doing, o)
}

func (c *cluster) Objects(ctx context.Context, q bellhop.ObjectQuery) ([]bellhop.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if q.Namespace == "" {
		q.Namespace = ownNamespace
	}
	if err := c.refused("read", bellhop.ObjectReference{Kind: q.Kind, Namespace: q.Namespace, Name: q.Name}); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []bellhop.Object
	for _, o := range c.objects {
		metadata, _ := o.Content["metadata"].(map[string]any)
		labels, _ := metadata["labels"].(map[string]any)
		lacks := func(key string) bool { return labels[key] != q.Labels[key] }
		if o.APIVersion == q.APIVersion && o.Kind == q.Kind && o.Namespace == q.Namespace && (q.Name == "" || q.Name == o.Name) &&
			!slices.ContainsFunc(slices.Collect(maps.Keys(q.Labels)), lacks) {
			found = append(found, o)
		}
	}
	if q.Name != "" && len(found) == 0 {
		return nil, fmt.Errorf("reading: %w: %s %q", bellhop.ErrNotFound, q.Kind, q.Name)
	}
	return found, nil
}

func (c *cluster) Annotate(ctx context.Context, o bellhop.ObjectReference, name, value string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := c.refused("annotate", o); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, present := range c.objects {
		if present.Kind != o.Kind || present.Namespace != o.Namespace || present.Name != o.Name {
			continue
		}
		if o.ResourceVersion != present.ResourceVersion {
			return fmt.Errorf("annotating: %w", bellhop.ErrConflict)
		}
		c.objects[i] = annotated(present, name, value)
		c.log = append(c.log, fmt.Sprintf("%s %s/%s %s: %s", o.Kind, o.Namespace, o.Name, name, value))
		return nil
	}
	return fmt.Errorf("annotating: %w", bellhop.ErrNotFound)
}

// annotated is a copy of an object with an annotation more: who has the object keeps it as it was.
func annotated(o bellhop.Object, name, value string) bellhop.Object {
	version, _ := strconv.Atoi(o.ResourceVersion)
	o.ResourceVersion = strconv.Itoa(version + 1)
	o.Content = maps.Clone(o.Content)
	metadata, _ := o.Content["metadata"].(map[string]any)
	metadata = maps.Clone(metadata)
	present, _ := metadata["annotations"].(map[string]any)
	annotations := map[string]any{}
	maps.Copy(annotations, present)
	annotations[name] = value
	metadata["annotations"], o.Content["metadata"] = annotations, metadata
	return o
}

// done are the annotations that were set, sorted, since the order in which they are is left to chance.
func (c *cluster) done() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(slices.Values(c.log))
}
