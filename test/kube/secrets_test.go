package kube_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bellhop-dev/bellhop/test/kube/apiserver"
	"github.com/bellhop-dev/bellhop/test/rig"
)

// leastRules are all that watched Secrets and Events need.
const leastRules = `
- apiGroups: [""]
  resources: [secrets]
  verbs: [list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [bellhop]
  verbs: [get]
`

const eventsGroup = "events.k8s.io"

// least is the same, as it is asked for.
var least = []apiserver.Access{
	{Verb: "list", Resource: "secrets", Namespace: "apps"}, {Verb: "watch", Resource: "secrets", Namespace: "apps"},
	{Verb: "create", Group: eventsGroup, Resource: "events", Namespace: "apps"}, {Verb: "patch", Group: eventsGroup, Resource: "events", Namespace: "apps"},
	{Verb: "get", Resource: "configmaps", Namespace: "apps", Name: "bellhop"},
}

// TestSecretsAndEvents runs `bellhop serve` on Secrets of the API: without permission it answers 503 and heals;
// keys that come, change and go serve without a restart; while the API is away the known ones serve on. The
// ConfigMap's Events tell of all that, and no key.
func TestSecretsAndEvents(t *testing.T) {
	t.Parallel()
	s := apiserver.Start(t)
	s.CreateNamespace(t, "apps")
	keys := rig.NewKeys(4)
	secrets := "/api/v1/namespaces/apps/secrets"
	createSecret(t, s, "keys", `{bellhop.dev/config: "true"}`, "first.key", keys[0])
	// Not Bellhop's: it has no label, so that its key is no second first.key.
	createSecret(t, s, "other", "{}", "first.key", keys[3])

	uid := createConfigMap(t, s)

	dir := t.TempDir()
	sink := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(sink.Close)
	const (
		first = "- {name: first, source: generic, keyPath: first.key}\n"
		late  = "- {name: late, source: generic, keyPath: late/hook}\n"
	)
	configure := func(endpoints, provider string) {
		write(t, filepath.Join(dir, "config", "bellhop.yaml"), []byte("apiVersion: bellhop.dev/v1\nkind: Config\nendpoints:\n"+endpoints+
			fmt.Sprintf("providers:\n- {name: sink, type: generic, address: %q, retry: {minBackoff: 50ms, maxBackoff: 100ms}}\n", provider)))
	}
	configure(first, sink.URL)
	o := rig.DaemonOptions{Program: build(t), Dir: dir, Log: t.Output(), Env: []string{
		"KUBECONFIG=" + s.Kubeconfig(t, apiserver.User, "apps"), "BELLHOP_SECRETS=kubernetes", "BELLHOP_CONFIGMAP=bellhop",
	}}
	for _, address := range []*string{&o.Receiver, &o.Admin} {
		var err error
		if *address, err = rig.FreeAddress(); err != nil {
			t.Fatal(err)
		}
	}
	var daemon *rig.Daemon
	var failed error
	ready := make(chan struct{})
	go func() {
		defer close(ready)
		daemon, failed = rig.StartDaemon(t.Context(), o)
	}()
	t.Cleanup(func() {
		<-ready
		if daemon == nil {
			return
		}
		if err := daemon.Stop(); err != nil {
			t.Error(err)
		}
	})
	hook := func(key []byte) int { return post(t, "http://"+o.Receiver+"/hook/"+rig.Fingerprint(key)) }
	await(t, "503 without permission", func() bool { return hook(keys[0]) == http.StatusServiceUnavailable })
	await(t, "the problem to be told", func() bool {
		return strings.Contains(get(t, "http://"+o.Admin+"/api/v1/status"), "grant the verbs list and watch on secrets")
	})
	s.GrantRules(t, "apps", leastRules, least[len(least)-1])
	if <-ready; failed != nil {
		t.Fatal(failed)
	}
	if got := hook(keys[0]); got != http.StatusAccepted {
		t.Fatalf("healed, it answers %d", got)
	}
	if got := hook(keys[3]); got != http.StatusNotFound {
		t.Errorf("the key of an unlabelled Secret: %d, want 404", got)
	}

	configure(first+late, sink.URL)
	event := func(reason string) string { return eventNote(t, s, reason, uid) }
	await(t, "the missing key to be told", func() bool { return strings.Contains(event("KeyMissing"), `the key "hook" of the Secret "late"`) })
	if got := hook(keys[0]); got != http.StatusAccepted {
		t.Errorf("while a key is missing: %d", got)
	}
	createSecret(t, s, "late", "{}", "hook", keys[1])
	await(t, "the added key to serve", func() bool { return hook(keys[1]) == http.StatusAccepted })
	await(t, "the reload to be told", func() bool { return strings.Contains(event("ConfigReloaded"), "2 endpoints, 1 providers") })

	setKey := func(name, key string, value []byte) {
		t.Helper()
		if _, err := s.Do(t.Context(), http.MethodPatch, secrets+"/"+name, fmt.Appendf(nil, `{"data": {%q: %q}}`, key, base64.StdEncoding.EncodeToString(value))); err != nil {
			t.Fatal(err)
		}
	}
	setKey("late", "hook", keys[2])
	await(t, "the changed key to serve", func() bool { return hook(keys[2]) == http.StatusAccepted })
	await(t, "the old key to be gone", func() bool { return hook(keys[1]) == http.StatusNotFound })

	s.StopAPI(t)
	if a, b := hook(keys[0]), hook(keys[2]); a != http.StatusAccepted || b != http.StatusAccepted {
		t.Errorf("without the API: %d and %d", a, b)
	}
	configure(late, sink.URL)
	await(t, "a reload without the API", func() bool { return hook(keys[0]) == http.StatusNotFound })
	s.StartAPI(t)
	setKey("late", "hook", keys[1])
	await(t, "a change after the API was away", func() bool { return hook(keys[1]) == http.StatusAccepted })

	// Another ConfigMap of the same name is told of what comes from now on.
	if _, err := s.Do(t.Context(), http.MethodDelete, configMapsOfApps+"/bellhop", nil); err != nil {
		t.Fatal(err)
	}
	uid = createConfigMap(t, s)
	configure(late+"- {name: broken, source: nobody}\n", sink.URL)
	await(t, "the broken configuration to be told", func() bool { return strings.Contains(event("ConfigInvalid"), `endpoints[1].source`) })
	configure(late, "http://"+deadAddress(t))
	await(t, "the provider's trouble to be told", func() bool {
		hook(keys[1]) // until the new provider has one
		return strings.Contains(event("ProviderNotReady"), "provider sink: DeliveryFailed: ")
	})

	all, err := s.Do(t.Context(), http.MethodGet, "/apis/events.k8s.io/v1/namespaces/apps/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if bytes.Contains(all, key) || bytes.Contains(all, []byte(rig.Fingerprint(key))) {
			t.Error("an Event holds a key or the path of a hook")
		}
	}
	// Nothing but the least is asked for.
	asked := s.Asked(t)
	for _, a := range asked {
		if !granted(a) {
			t.Errorf("asked to %+v, which is not granted", a)
		}
	}
	for _, permission := range least {
		used := slices.ContainsFunc(asked, func(a apiserver.Access) bool { return covers(permission, a) })
		if !used && permission.Verb != "patch" { // nothing need have come twice
			t.Errorf("never asked to %+v: the audit log is not what it should be, or the rule is not needed", permission)
		}
	}
}

// covers reports whether a permission is one to do a.
func covers(permission, a apiserver.Access) bool {
	if permission.Name == "" {
		a.Name = ""
	}
	return permission == a
}

// granted reports whether the least lets Bellhop do a.
func granted(a apiserver.Access) bool {
	return slices.ContainsFunc(least, func(permission apiserver.Access) bool { return covers(permission, a) })
}

// TestLeastAccess is the matrix of what the least Role lets Bellhop do.
func TestLeastAccess(t *testing.T) {
	t.Parallel()
	s := apiserver.Start(t)
	s.CreateNamespace(t, "apps")
	s.CreateNamespace(t, "later")
	s.GrantRules(t, "apps", leastRules, least[len(least)-1])
	for _, namespace := range []string{"apps", "later"} {
		for group, resources := range map[string][]string{
			"": {"secrets", "configmaps", "pods", "events", "serviceaccounts"}, eventsGroup: {"events"}, "apps": {"deployments"},
			"source.toolkit.fluxcd.io": {"gitrepositories"}, "rbac.authorization.k8s.io": {"roles"},
		} {
			for _, resource := range resources {
				for _, verb := range []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"} {
					for _, name := range []string{"", "bellhop", "other"} {
						a := apiserver.Access{Verb: verb, Group: group, Resource: resource, Namespace: namespace, Name: name}
						if got, want := s.Can(t, a), granted(a); got != want {
							t.Errorf("%+v: allowed %v, want %v", a, got, want)
						}
					}
				}
			}
		}
	}
}

// createSecret makes a Secret with one key in apps. Labels are YAML.
func createSecret(t *testing.T, s *apiserver.Server, name, labels, key string, value []byte) {
	t.Helper()
	s.Create(t, "/api/v1/namespaces/apps/secrets", fmt.Sprintf("{apiVersion: v1, kind: Secret, metadata: {name: %s, labels: %s}, data: {%s: %s}}",
		name, labels, key, base64.StdEncoding.EncodeToString(value)))
}

const configMapsOfApps = "/api/v1/namespaces/apps/configmaps"

// createConfigMap makes the one that Events are about, and returns its UID.
func createConfigMap(t *testing.T, s *apiserver.Server) string {
	t.Helper()
	answer, err := s.Do(t.Context(), http.MethodPost, configMapsOfApps, []byte("{apiVersion: v1, kind: ConfigMap, metadata: {name: bellhop}}"))
	if err != nil {
		t.Fatal(err)
	}
	var o struct{ Metadata struct{ UID string } }
	if err := json.Unmarshal(answer, &o); err != nil || o.Metadata.UID == "" {
		t.Fatalf("the ConfigMap that was made: %s (%v)", answer, err)
	}
	return o.Metadata.UID
}

// eventNote is the notes of all Events with the reason about the ConfigMap that has the UID, one a line. It looks for
// them as `kubectl describe configmap` does.
func eventNote(t *testing.T, s *apiserver.Server, reason, uid string) string {
	t.Helper()
	about := "involvedObject.kind=ConfigMap,involvedObject.namespace=apps,involvedObject.name=bellhop,involvedObject.uid=" + uid
	answer, err := s.Do(t.Context(), http.MethodGet, "/api/v1/namespaces/apps/events?fieldSelector="+url.QueryEscape(about), nil)
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Items []struct{ Reason, Message string } `json:"items"`
	}
	if err := json.Unmarshal(answer, &list); err != nil {
		t.Fatal(err)
	}
	var notes []string
	for _, e := range list.Items {
		if e.Reason == reason {
			notes = append(notes, e.Message)
		}
	}
	return strings.Join(notes, "\n")
}

func client(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	return &http.Client{Transport: transport, Timeout: patience}
}

// post sends something to a hook; 0 if nobody listens.
func post(t *testing.T, url string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(`{"message": "hello"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client(t).Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// get is what a page says; empty if nobody listens.
func get(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client(t).Do(req)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// deadAddress is where nobody listens.
func deadAddress(t *testing.T) string {
	t.Helper()
	address, err := rig.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}
