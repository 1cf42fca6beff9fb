package senders_test

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fluxcd/pkg/runtime/events"
	"github.com/go-logr/logr/testr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"
)

// TestFluxRecorder posts as kustomize-controller does. The answer to the first try is lost, so the recorder tries
// again: the event is known by then, and arrives once.
func TestFluxRecorder(t *testing.T) {
	t.Parallel()
	hook := newHook(t, "flux", "")
	recorder, err := events.NewRecorderForScheme(runtime.NewScheme(), record.NewFakeRecorder(10), testr.New(t), hook.URL, "kustomize-controller")
	if err != nil {
		t.Fatal(err)
	}
	wire := &lossy{next: recorder.Client.HTTPClient.Transport, lose: 1}
	recorder.Client.HTTPClient.Transport = wire
	recorder.Client.RetryWaitMin = time.Millisecond

	const revision = "main@sha1:6c8a85a5ab953874c7c83d50317359a0e5a352a9"
	object := &metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{APIVersion: "kustomize.toolkit.fluxcd.io/v1", Kind: "Kustomization"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "apps", Name: "podinfo", UID: "624ec8a5-45c1-4450-9908-f6c2a1fa5eea", ResourceVersion: "28586",
			Annotations: map[string]string{"event.toolkit.fluxcd.io/summary": "production", "example.com/other": "stays at home"},
		},
	}
	recorder.AnnotatedEventf(object, map[string]string{"kustomize.toolkit.fluxcd.io/revision": revision},
		corev1.EventTypeWarning, "HealthCheckFailed", "health check failed after %s", "5m0s")
	if got := wire.seen(); !slices.Equal(got, []int{http.StatusAccepted, http.StatusOK}) {
		t.Errorf("answered with %v, want 202, and 200 for the repetition", got)
	}
	e := hook.next(t)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if e.Source != "flux" || e.Kind != "flux" || e.Type != "HealthCheckFailed" || e.Reason != "HealthCheckFailed" || e.Severity != "error" ||
		e.Title != "Kustomization apps/podinfo: health check failed" || e.Message != "health check failed after 5m0s" ||
		e.Branch != "main" || e.Commit != "6c8a85a5ab953874c7c83d50317359a0e5a352a9" ||
		e.ReportingController != "kustomize-controller" || e.ReportingInstance != host {
		t.Errorf("the event is %+v", e)
	}
	if want := map[string]string{
		"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "namespace": "apps", "name": "podinfo",
		"uid": "624ec8a5-45c1-4450-9908-f6c2a1fa5eea", "resourceVersion": "28586",
	}; !maps.Equal(e.InvolvedObject, want) {
		t.Errorf("the object is %v, want %v", e.InvolvedObject, want)
	}
	if want := map[string]string{
		"event.toolkit.fluxcd.io/summary": "production", "kustomize.toolkit.fluxcd.io/revision": revision,
	}; !maps.Equal(e.Metadata, want) {
		t.Errorf("the metadata is %v, want %v", e.Metadata, want)
	}

	recorder.Event(object, corev1.EventTypeNormal, "ReconciliationSucceeded", "Reconciliation finished in 94ms, next run in 10m")
	if next := hook.next(t); next.Type != "ReconciliationSucceeded" || next.Severity != "info" {
		t.Errorf("the event after it is %+v; the first one's id is %s", next, e.ID)
	}
}

// lossy is a connection that breaks after the request was answered, as often as lose says.
type lossy struct {
	next http.RoundTripper

	mu       sync.Mutex
	lose     int
	statuses []int
}

// RoundTrip implements http.RoundTripper.
func (l *lossy) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.statuses = append(l.statuses, resp.StatusCode)
	if l.lose == 0 {
		return resp, nil
	}
	l.lose--
	_, err = io.Copy(io.Discard, resp.Body)
	return nil, errors.Join(errors.New("connection lost"), err, resp.Body.Close())
}

// seen are the statuses of the answers, the lost ones included.
func (l *lossy) seen() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.statuses)
}
