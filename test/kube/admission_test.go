package kube_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
	"github.com/bellhop-dev/bellhop/test/kube/apiserver"
	"github.com/bellhop-dev/bellhop/test/rig"
)

// TestAdmission has the API ask `bellhop serve` about ConfigMaps and Secrets, with Fail as the policy: whatever the
// webhook did not answer would be refused.
func TestAdmission(t *testing.T) {
	t.Parallel()
	s := apiserver.Start(t)
	s.CreateNamespace(t, "hooks")
	dir := t.TempDir()
	key := rig.NewKeys(1)[0]
	write(t, filepath.Join(dir, "secrets", "app.key"), key)
	write(t, filepath.Join(dir, "config", "bellhop.yaml"), []byte(configured("github")))
	ca := bellhoptest.NewAuthority(t)
	pair := ca.Issue(t, "127.0.0.1")
	write(t, filepath.Join(dir, "tls", "tls.crt"), pair.Cert)
	write(t, filepath.Join(dir, "tls", "tls.key"), pair.Key)
	address, err := rig.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	d, err := rig.StartDaemon(t.Context(), rig.DaemonOptions{
		Program: build(t), Dir: dir, Log: t.Output(), Env: []string{
			"POD_NAMESPACE=hooks",
			"BELLHOP_ADMISSION_LISTEN=" + address,
			"BELLHOP_ADMISSION_CERT_FILE=" + filepath.Join(dir, "tls", "tls.crt"),
			"BELLHOP_ADMISSION_KEY_FILE=" + filepath.Join(dir, "tls", "tls.key"),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
	})
	s.Create(t, "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations", fmt.Sprintf(`
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: bellhop}
webhooks:
- name: config.bellhop.dev
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Fail
  timeoutSeconds: 30
  clientConfig: {url: "https://%s/validate", caBundle: %s}
  objectSelector: {matchLabels: {bellhop.dev/config: "true"}}
  rules:
  - {apiGroups: [""], apiVersions: [v1], resources: [configmaps, secrets], operations: [CREATE, UPDATE]}
`, address, base64.StdEncoding.EncodeToString(ca.PEM)))

	configMaps, secrets := "/api/v1/namespaces/hooks/configmaps", "/api/v1/namespaces/hooks/secrets"
	broken := object(t, "ConfigMap", "broken", "true", "bellhop.yaml", configured("gihtub"))
	await(t, "the API asks the webhook", func() bool {
		_, err := s.Do(t.Context(), http.MethodPost, configMaps+"?dryRun=All", broken)
		return err != nil
	})
	refused := func(method, path string, body []byte, words string) {
		t.Helper()
		_, err := s.Do(t.Context(), method, path, body)
		if err == nil || !strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), "422") {
			t.Errorf("%s %s: want a refusal with %q, got %v", method, path, words, err)
		}
		if err != nil && strings.Contains(err.Error(), string(key)) {
			t.Error("the refusal shows a key")
		}
	}
	accepted := func(method, path string, body []byte) {
		t.Helper()
		if _, err := s.Do(t.Context(), method, path, body); err != nil {
			t.Error(err)
		}
	}
	refused(http.MethodPost, configMaps, broken, `bellhop.yaml:4:23: endpoints[0].source: unknown source \"gihtub\": did you mean github?`)
	accepted(http.MethodPost, configMaps, object(t, "ConfigMap", "good", "true", "bellhop.yaml", configured("github")))
	accepted(http.MethodPost, configMaps, object(t, "ConfigMap", "other", "false", "bellhop.yaml", configured("gihtub")))
	accepted(http.MethodPost, secrets, object(t, "Secret", "keys", "true", "app.key", string(key)))
	refused(http.MethodPatch, secrets+"/keys", []byte(`{"data": {"app.key": ""}}`), "app.key is empty")
	accepted(http.MethodPatch, secrets+"/keys", []byte(`{"data": {"app.key": null}}`)) // a warning
	refused(http.MethodPatch, configMaps+"/good", []byte(`{"data": {"bellhop.yaml": "endpoints: ["}}`), "bellhop.yaml:1:")
	accepted(http.MethodDelete, configMaps+"/good", nil)
	accepted(http.MethodDelete, secrets+"/keys", nil)
}

// configured is a configuration with an endpoint of the source.
func configured(source string) string {
	return "apiVersion: bellhop.dev/v1\nkind: Config\nendpoints:\n- {name: app, source: " + source + ", keyPath: app.key}\n"
}

// object is a manifest of a kind that has data.
func object(t *testing.T, kind, name, label, key, value string) []byte {
	t.Helper()
	field := "data"
	if kind == "Secret" {
		field = "stringData"
	}
	b, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": kind, field: map[string]string{key: value},
		"metadata": map[string]any{"name": name, "labels": map[string]string{"bellhop.dev/config": label}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}
