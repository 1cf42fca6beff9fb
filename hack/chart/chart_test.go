package chart_test

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	certmanager "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"helm.sh/helm/v3/pkg/strvals"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/scheme"
	psa "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const (
	chartDir  = "../../chart"
	namespace = "hooks"
	// oneLiner is what the README installs.
	oneLiner = "hooks[0].name=app,hooks[0].source=github"
)

// values are the sets that users are promised: what ci/ holds, and the README's one-liner.
func values(t *testing.T) map[string]map[string]any {
	t.Helper()
	sets := map[string]map[string]any{"one-liner": set(t, oneLiner), "nothing": {}}
	files, err := filepath.Glob(filepath.Join(chartDir, "ci", "*-values.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no ci/*-values.yaml: %v", err)
	}
	for _, file := range files {
		v, err := chartutil.ReadValuesFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sets[strings.TrimSuffix(filepath.Base(file), "-values.yaml")] = v
	}
	return sets
}

func set(t *testing.T, expr string) map[string]any {
	t.Helper()
	v, err := strvals.Parse(expr)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func load(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loader.Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// render renders as `helm install bellhop chart/` does. in may be nil: a cluster that holds nothing.
func render(t *testing.T, v map[string]any, in engine.ClientProvider) (manifests map[string]string, err error) {
	t.Helper()
	return renderIn(t, namespace, v, in)
}

func renderIn(t *testing.T, namespace string, v map[string]any, in engine.ClientProvider) (manifests map[string]string, err error) {
	t.Helper()
	c := load(t)
	vals, err := chartutil.ToRenderValues(c, v, chartutil.ReleaseOptions{Name: "bellhop", Namespace: namespace, Revision: 1, IsInstall: true},
		chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	if in == nil {
		return engine.Render(c, vals)
	}
	return engine.RenderWithClientProvider(c, vals, in)
}

// kinds are Kubernetes' own, and those of the projects that the chart has objects for.
var kinds = func() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, certmanager.AddToScheme, gateway.Install, monitoring.AddToScheme} {
		if err := add(s); err != nil {
			panic(err)
		}
	}
	return s
}()

// objects decodes all manifests strictly: an unknown, misspelt or doubled field is an error.
func objects(t *testing.T, manifests map[string]string) []runtime.Object {
	t.Helper()
	decoder := json.NewSerializerWithOptions(json.DefaultMetaFactory, kinds, kinds, json.SerializerOptions{Yaml: true, Strict: true})
	var objs []runtime.Object
	for _, name := range sortedKeys(manifests) {
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		docs := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(manifests[name])))
		for {
			doc, err := docs.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if len(bytes.TrimSpace(doc)) == 0 {
				continue
			}
			obj, _, err := decoder.Decode(doc, nil, nil)
			if err != nil {
				t.Errorf("%s: %v\n%s", name, err, doc)
				continue
			}
			objs = append(objs, obj)
		}
	}
	return objs
}

// all are the objects of a type, by name.
func all[T metav1.Object](objs []runtime.Object) map[string]T {
	named := map[string]T{}
	for _, o := range objs {
		if o, ok := o.(T); ok {
			named[o.GetName()] = o
		}
	}
	return named
}

func find[T runtime.Object](t *testing.T, objs []runtime.Object) T {
	t.Helper()
	for _, o := range objs {
		if o, ok := o.(T); ok {
			return o
		}
	}
	var zero T
	t.Fatalf("no %T rendered", zero)
	return zero
}

// pods are the one that serves, and the one of helm test if there is one.
func pods(t *testing.T, objs []runtime.Object) map[string]corev1.PodTemplateSpec {
	t.Helper()
	specs := map[string]corev1.PodTemplateSpec{"serve": find[*appsv1.Deployment](t, objs).Spec.Template}
	for name, pod := range all[*corev1.Pod](objs) {
		specs[name] = corev1.PodTemplateSpec{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec}
	}
	return specs
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, cmp.Compare[string])
	return keys
}

func TestLint(t *testing.T) {
	t.Parallel()
	for name, v := range values(t) {
		for _, m := range lint.All(chartDir, v, namespace, true).Messages {
			// helm lint --strict. An icon is a matter of taste.
			if m.Severity >= support.WarningSev {
				t.Errorf("%s: %v", name, m)
			}
		}
	}
}

// generatedKey is a key that the chart made up: another one at each rendering without a cluster.
var generatedKey = regexp.MustCompile(`(?m)^(  \S+): [A-Za-z0-9+/]{64}$`)

func TestManifests(t *testing.T) {
	t.Parallel()
	for name, v := range values(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			manifests, err := render(t, v, nil)
			if err != nil {
				t.Fatal(err)
			}
			objects(t, manifests)

			var got bytes.Buffer
			for _, file := range sortedKeys(manifests) {
				if text := strings.TrimSpace(manifests[file]); text != "" {
					fmt.Fprintf(&got, "-- %s --\n%s\n", file, generatedKey.ReplaceAllString(text, "$1: <generated>"))
				}
			}
			golden := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("not what %s says; run go test -C hack/chart ./... -update and read the difference:\n%s", golden, got.Bytes())
			}
		})
	}
}

// TestRestricted holds the pod against the strictest of the Pod Security Standards.
func TestRestricted(t *testing.T) {
	t.Parallel()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	restricted := psa.LevelVersion{Level: psa.LevelRestricted, Version: psa.LatestVersion()}
	for name, v := range values(t) {
		manifests, err := render(t, v, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, pod := range pods(t, objects(t, manifests)) {
			for _, result := range evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec) {
				if !result.Allowed {
					t.Errorf("%s: %s: %s", name, result.ForbiddenReason, result.ForbiddenDetail)
				}
			}
			for _, c := range pod.Spec.Containers {
				if c.SecurityContext.ReadOnlyRootFilesystem == nil || !*c.SecurityContext.ReadOnlyRootFilesystem {
					t.Errorf("%s: %s may write its root file system", name, c.Name)
				}
			}
		}
	}
}

func TestRefusedValues(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ set, want string }{
		{"hook[0].name=app", "hook"},
		{"hooks[0].name=app", "source"},
		{"hooks[0].source=github", "name"},
		{"hooks[0].name=a/b,hooks[0].source=github", "pattern"},
		{"providers[0].name=team", "type"},
		{"replicas=2", "replicas: the embedded queue"},
		{"autoscaling.enabled=true", "autoscaling.enabled: the embedded queue"},
		{"podDisruptionBudget.enabled=true", "podDisruptionBudget.enabled: the embedded queue"},
		{"queue.type=kafka", "type"},
		{"queue.type=nats", "queue.nats: write url"},
		{"queue.type=nats,queue.nats.url=http://nats", "url"},
		{"queue.type=nats,queue.nats.url=nats://nats,queue.nats.secretRef.name=nats", "not both"},
		{"secrets.a=", "secrets"},
		{"secrets.a=b,existingSecret=mine", "write one of the two"},
		{"existingConfigMap=mine,providers[0].name=team,providers[0].type=slack", "leave out hooks"},
		{"tls.enabled=true", "tls: write certManager.enabled"},
		{"admission.enabled=true", "admission: write certManager.enabled"},
		{"admission.enabled=true,admission.existingSecret=mine", "admission.caBundle"},
		{"admission.failurePolicy=Maybe", "failurePolicy"},
		{"admission.port=9090", "port"},
		{"certManager.duration=90d", "duration"},
		{"ingress.enabled=true", "ingress.hosts"},
		{"gateway.enabled=true", "gateway.parentRefs"},
		{"preStopSleepSeconds=35", "preStopSleepSeconds"},
		{"image.tags=1", "tags"},
		{"image.digest=latest", "digest"},
		{"queue.nats.url=nats://nats", "nats"},
		{"queue.nats.filesSecret=nats", "nats"},
		{"queue.embedded.persistence.size=large", "size"},
		{"publicURL=hooks.example.com", "publicURL"},
		{"log.level=verbose", "level"},
		{"service.type=ExternalName", "type"},
	} {
		t.Run(tc.set, func(t *testing.T) {
			t.Parallel()
			_, err := render(t, set(t, tc.set), nil)
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("the message does not name %q: %v", tc.want, err)
			}
		})
	}
}

// cluster is what lookup sees.
type cluster struct{ client dynamic.Interface }

func newCluster(objs ...runtime.Object) cluster {
	return cluster{fake.NewSimpleDynamicClient(scheme.Scheme, objs...)}
}

func (c cluster) GetClientFor(apiVersion, kind string) (dynamic.NamespaceableResourceInterface, bool, error) {
	switch {
	case apiVersion != "v1":
	case kind == "Secret":
		return c.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "secrets"}), true, nil
	case kind == "Namespace":
		return c.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}), false, nil
	}
	return nil, false, fmt.Errorf("the chart looks up %s %s", apiVersion, kind)
}

// TestKeysAreKept: an upgrade writes the key that the cluster has, and makes only those that are missing.
func TestKeysAreKept(t *testing.T) {
	t.Parallel()
	first, err := render(t, set(t, oneLiner), newCluster())
	if err != nil {
		t.Fatal(err)
	}
	installed := all[*corev1.Secret](objects(t, first))["bellhop-keys"]
	key := installed.Data["app.key"]
	if len(key) < 32 {
		t.Fatalf("the generated key has %d bytes", len(key))
	}

	second, err := render(t, set(t, oneLiner+",hooks[1].name=other,hooks[1].source=gitlab"), newCluster(installed))
	if err != nil {
		t.Fatal(err)
	}
	upgraded := all[*corev1.Secret](objects(t, second))["bellhop-keys"]
	if !bytes.Equal(upgraded.Data["app.key"], key) {
		t.Error("the upgrade changed a key")
	}
	if other := upgraded.Data["other.key"]; len(other) < 32 || bytes.Equal(other, key) {
		t.Error("the new hook has no key of its own")
	}

	third, err := render(t, set(t, oneLiner+",existingSecret=mine"), newCluster(installed))
	if err != nil {
		t.Fatal(err)
	}
	if all[*corev1.Secret](objects(t, third))["bellhop-keys"] != nil {
		t.Error("a Secret is made although one is given")
	}
}

// TestBellhopAcceptsIt lays out the volumes as the kubelet would and has the program check them.
func TestBellhopAcceptsIt(t *testing.T) {
	t.Parallel()
	bellhop := os.Getenv("BELLHOP")
	if bellhop == "" {
		t.Skip("BELLHOP does not name the program")
	}
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	user := map[string]map[string][]byte{ // the Secrets that the values name
		"webhook-url": {"address": []byte("https://hooks.slack.com/services/T000/B000/xyz")},
		"gitlab-hook": {"token": []byte("a-token-long-enough-to-be-one-3141592653")},
		"audit-tls":   {"ca.crt": ca},
	}
	for name, v := range values(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			manifests, err := render(t, v, nil)
			if err != nil {
				t.Fatal(err)
			}
			objs := objects(t, manifests)
			dir := t.TempDir()
			config, secrets := filepath.Join(dir, "config"), filepath.Join(dir, "secrets")
			write := func(path string, content []byte) {
				t.Helper()
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.MkdirAll(secrets, 0o755); err != nil {
				t.Fatal(err)
			}
			for file, text := range all[*corev1.ConfigMap](objs)["bellhop"].Data {
				write(filepath.Join(config, file), []byte(text))
			}
			sources := find[*appsv1.Deployment](t, objs).Spec.Template.Spec.Volumes
			if pod := all[*corev1.Pod](objs)["bellhop-test"]; pod != nil {
				sources = pod.Spec.Volumes // a pod that reads Secrets from the API has no volume of them
			}
			for _, volume := range sources {
				if volume.Projected == nil {
					continue
				}
				for _, source := range volume.Projected.Sources {
					for _, o := range objs {
						if made, ok := o.(*corev1.Secret); ok && made.Name == source.Secret.Name {
							for file, content := range made.Data {
								write(filepath.Join(secrets, file), content)
							}
						}
					}
					for _, item := range source.Secret.Items {
						if content, ok := user[source.Secret.Name][item.Key]; ok {
							write(filepath.Join(secrets, item.Path), content)
						}
					}
				}
			}
			out, err := exec.CommandContext(t.Context(), bellhop, "check", "--config", config, "--secrets", secrets).CombinedOutput()
			if err != nil {
				t.Errorf("bellhop check: %v\n%s\n%s", err, out, manifests["bellhop/templates/configmap.yaml"])
			}
		})
	}
}
