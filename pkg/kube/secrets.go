package kube

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
)

// configLabel marks what is Bellhop's configuration, with the value "true".
const configLabel = "bellhop.dev/config"

// notReleases leaves out what Helm keeps about its releases: up to a megabyte each, and never a key.
// https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/
const notReleases = "type!=helm.sh/release.v1"

// How long a list may take, and how long the first one is waited for.
const (
	listTimeout  = 30 * time.Second
	firstTimeout = 10 * time.Second
)

var secretResource = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}

// Secrets are those of Bellhop's own namespace. They are read when Ready is called or, once Watch was, kept as
// the API has them; while the API is away the last known ones stay.
//
// It is safe for concurrent use.
type Secrets struct {
	cluster *Cluster
	logger  *slog.Logger
	changed chan struct{}

	mu       sync.Mutex
	held     map[string]*secret // by name
	revision uint64
	read     bool   // whole, at least once
	err      error  // of the last request, nil if the Secrets are being watched
	told     string // the trouble that the log knows of
	// first is closed when Ready need not wait any more; nil before Watch.
	first chan struct{}
}

// secret is what is kept of a Secret. It is replaced, never changed.
type secret struct {
	labelled bool
	data     map[string][]byte
}

// Secrets asks nothing of the API yet.
func (c *Cluster) Secrets() *Secrets {
	return &Secrets{cluster: c, logger: c.options.Logger, changed: make(chan struct{}, 1), held: map[string]*secret{}}
}

// Changed brings a value after Secrets changed, or what Ready says. Changes in a row may bring one.
func (s *Secrets) Changed() <-chan struct{} { return s.changed }

// Revision grows with every change of the Secrets.
func (s *Secrets) Revision() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revision
}

// Secret is the content of a Secret by key, not to be written to; false if there is none of the name.
func (s *Secrets) Secret(name string) (map[string][]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.held[name]
	if !ok {
		return nil, false
	}
	return found.data, true
}

// WithKey are the names of the Secrets with the label bellhop.dev/config: "true" and the key, sorted.
func (s *Secrets) WithKey(key string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, name := range slices.Sorted(maps.Keys(s.held)) {
		if _, ok := s.held[name].data[key]; ok && s.held[name].labelled {
			names = append(names, name)
		}
	}
	return names
}

// Ready is nil once the Secrets were read. Of a watch the first list is waited for, for 10 s after its begin at
// most; without a watch, each call reads them anew.
func (s *Secrets) Ready() error {
	s.mu.Lock()
	first := s.first
	s.mu.Unlock()
	if first == nil {
		return s.readOnce()
	}
	<-first
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.read:
		return nil
	case s.err != nil:
		return s.err
	}
	return fmt.Errorf("reading the namespace's Secrets: the Kubernetes API did not answer within %v", firstTimeout)
}

func (s *Secrets) readOnce() error {
	ctx, cancel := context.WithTimeout(context.Background(), firstTimeout)
	defer cancel()
	var all []any
	var options metav1.ListOptions
	for {
		page, err := s.list(ctx, options)
		if err != nil {
			return explainSecrets(err)
		}
		for i := range page.Items {
			all = append(all, &page.Items[i])
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return s.Replace(all, page.GetResourceVersion())
		}
	}
}

func (s *Secrets) list(ctx context.Context, o metav1.ListOptions) (*unstructured.UnstructuredList, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	api, err := s.api()
	if err != nil {
		return nil, err
	}
	o.FieldSelector = notReleases
	return api.List(ctx, o)
}

// api is the namespace's Secrets as the API has them.
func (s *Secrets) api() (dynamic.ResourceInterface, error) {
	conn, err := s.cluster.connect()
	if err != nil {
		return nil, err
	}
	return conn.objects.Resource(secretResource).Namespace(conn.namespace), nil
}

// explainSecrets says what was being done, and what to grant.
func explainSecrets(err error) error {
	remedy := ""
	if apierrors.IsForbidden(err) {
		remedy = ": grant the verbs list and watch on secrets in Bellhop's namespace to its service account"
	}
	return fmt.Errorf("reading the namespace's Secrets: %w%s", classed(err), remedy)
}

// Watch begins to follow the Secrets. The function ends that and returns when it has ended. Watch is called once.
func (s *Secrets) Watch() (stop func()) {
	s.mu.Lock()
	s.first = make(chan struct{})
	s.mu.Unlock()
	patience := time.AfterFunc(firstTimeout, func() { s.waited() })
	// What client-go has to say is said below, once.
	ctx, cancel := context.WithCancel(logr.NewContext(context.Background(), logr.Discard()))
	silent := logr.Discard()
	reflector := cache.NewReflectorWithOptions(s.requests(), &unstructured.Unstructured{}, s,
		cache.ReflectorOptions{Name: "secrets", TypeDescription: "Secrets", Logger: &silent})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		reflector.RunWithContext(ctx)
	}()
	return func() {
		patience.Stop()
		cancel()
		s.waited()
		<-ended
	}
}

// plainLists keeps client-go from asking for lists as the beginning of a watch: a namespace has few Secrets, and
// the errors of a plain list are plain.
type plainLists struct{ *cache.ListWatch }

// IsWatchListSemanticsUnSupported is asked by client-go.
func (plainLists) IsWatchListSemanticsUnSupported() bool { return true }

// requests are the reflector's to the API, which is reached anew each time: it may appear late.
func (s *Secrets) requests() cache.ListerWatcher {
	return plainLists{&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			list, err := s.list(ctx, o)
			if err != nil {
				s.failed(ctx, err)
				return nil, err
			}
			return list, nil
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			api, err := s.api()
			if err != nil {
				s.failed(ctx, err)
				return nil, err
			}
			o.FieldSelector = notReleases
			w, err := api.Watch(ctx, o)
			if err != nil {
				s.failed(ctx, err)
				return nil, err
			}
			s.watched()
			return w, nil
		},
	}}
}

// failed notes that a request failed. Expired revisions are no trouble: the next list makes up for them.
func (s *Secrets) failed(ctx context.Context, err error) {
	if ctx.Err() != nil || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		return
	}
	err = explainSecrets(err)
	s.mu.Lock()
	known := s.told == err.Error()
	s.err, s.told = err, err.Error()
	read := s.read
	s.mu.Unlock()
	switch {
	case s.waited(), known:
	case read:
		s.logger.Warn("the Secrets that are known serve on", "error", err)
	default:
		s.tell()
	}
}

// watched notes that the API is there.
func (s *Secrets) watched() {
	s.mu.Lock()
	again := s.told != ""
	s.err, s.told = nil, ""
	s.mu.Unlock()
	if again {
		s.logger.Info("the Secrets are watched again")
	}
}

// waited ends Ready's waiting, and reports whether it had not ended: then there is nothing to tell but what Ready
// is about to say.
func (s *Secrets) waited() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == nil {
		return true
	}
	select {
	case <-s.first:
		return false
	default:
		close(s.first)
		return true
	}
}

func (s *Secrets) tell() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Replace takes a whole list; it and the methods below are called by client-go's reflector.
func (s *Secrets) Replace(list []any, _ string) error {
	held := make(map[string]*secret, len(list))
	var errs []error
	for _, o := range list {
		name, taken, err := take(o)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		held[name] = taken
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	s.mu.Lock()
	changed := !s.read || !maps.EqualFunc(held, s.held, (*secret).equal)
	s.read = true
	if changed {
		s.held = held
		s.revision++
	}
	s.mu.Unlock()
	if first := s.waited(); changed && !first {
		s.tell()
	}
	return nil
}

// Add takes a Secret that is new.
func (s *Secrets) Add(o any) error { return s.Update(o) }

// Update takes a Secret that changed.
func (s *Secrets) Update(o any) error {
	name, taken, err := take(o)
	if err != nil {
		return err
	}
	s.mu.Lock()
	before, ok := s.held[name]
	changed := !ok || !taken.equal(before)
	if changed {
		s.held[name] = taken
		s.revision++
	}
	s.mu.Unlock()
	if changed {
		s.tell()
	}
	return nil
}

// Delete forgets a Secret.
func (s *Secrets) Delete(o any) error {
	name, _, err := take(o)
	if err != nil {
		return err
	}
	s.mu.Lock()
	_, ok := s.held[name]
	if ok {
		delete(s.held, name)
		s.revision++
	}
	s.mu.Unlock()
	if ok {
		s.tell()
	}
	return nil
}

// Resync has nothing to do.
func (*Secrets) Resync() error { return nil }

func (s *secret) equal(other *secret) bool {
	return s.labelled == other.labelled && maps.EqualFunc(s.data, other.data, slices.Equal[[]byte])
}

// take reads a Secret of the API.
func take(o any) (name string, taken *secret, err error) {
	u, ok := o.(*unstructured.Unstructured)
	if !ok {
		return "", nil, fmt.Errorf("the API sent %T in place of a Secret", o)
	}
	var data map[string]string
	if u.Object["data"] != nil {
		data, _, err = unstructured.NestedStringMap(u.Object, "data")
	}
	if err != nil {
		return "", nil, fmt.Errorf("the Secret %q has data that is no map of texts", u.GetName())
	}
	taken = &secret{labelled: u.GetLabels()[configLabel] == "true", data: make(map[string][]byte, len(data))}
	for key, text := range data {
		if taken.data[key], err = base64.StdEncoding.DecodeString(text); err != nil {
			return "", nil, fmt.Errorf("the Secret %q has no base64 in its key %q", u.GetName(), key)
		}
	}
	return u.GetName(), taken, nil
}
