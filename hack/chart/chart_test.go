package chart_test

import (
	"bytes"
	"cmp"
	"encoding/pem"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"helm.sh/helm/v3/pkg/strvals"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/scheme"
	psa "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
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

// objects decodes all manifests strictly: an unknown, misspelt or doubled field is an error.
func objects(t *testing.T, manifests map[string]string) []runtime.Object {
	t.Helper()
	decoder := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme.Scheme, scheme.Scheme, json.SerializerOptions{Yaml: true, Strict: true})
	var objs []runtime.Object
	for _, name := range sortedKeys(manifests) {
		text := manifests[name]
		if !strings.HasSuffix(name, ".yaml") || strings.TrimSpace(text) == "" {
			continue
		}
		obj, _, err := decoder.Decode([]byte(text), nil, nil)
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
			continue
		}
		objs = append(objs, obj)
	}
	return objs
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
var generatedKey = regexp.MustCompile(`(?m)^(  \S+\.key): \S{40,}$`)

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
		pod := find[*appsv1.Deployment](t, objects(t, manifests)).Spec.Template
		for _, result := range evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec) {
			if !result.Allowed {
				t.Errorf("%s: %s: %s", name, result.ForbiddenReason, result.ForbiddenDetail)
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
		{"replicas=2", "replicas"},
		{"image.tags=1", "tags"},
		{"image.digest=latest", "digest"},
		{"queue.nats.url=nats://nats", "nats"},
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
	if apiVersion != "v1" || kind != "Secret" {
		return nil, false, fmt.Errorf("the chart looks up %s %s", apiVersion, kind)
	}
	return c.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "secrets"}), true, nil
}

// TestKeysAreKept: an upgrade writes the key that the cluster has, and makes only those that are missing.
func TestKeysAreKept(t *testing.T) {
	t.Parallel()
	first, err := render(t, set(t, oneLiner), newCluster())
	if err != nil {
		t.Fatal(err)
	}
	installed := find[*corev1.Secret](t, objects(t, first))
	key := installed.Data["app.key"]
	if len(key) < 32 {
		t.Fatalf("the generated key has %d bytes", len(key))
	}

	second, err := render(t, set(t, oneLiner+",hooks[1].name=other,hooks[1].source=gitlab"), newCluster(installed))
	if err != nil {
		t.Fatal(err)
	}
	upgraded := find[*corev1.Secret](t, objects(t, second))
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
	for _, o := range objects(t, third) {
		if _, ok := o.(*corev1.Secret); ok {
			t.Error("a Secret is made although one is given")
		}
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
			for file, text := range find[*corev1.ConfigMap](t, objs).Data {
				write(filepath.Join(config, file), []byte(text))
			}
			for _, volume := range find[*appsv1.Deployment](t, objs).Spec.Template.Spec.Volumes {
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

// TestServiceReachesThePod: the ports and labels that belong together do.
func TestServiceReachesThePod(t *testing.T) {
	t.Parallel()
	manifests, err := render(t, set(t, oneLiner), nil)
	if err != nil {
		t.Fatal(err)
	}
	objs := objects(t, manifests)
	service, pod := find[*corev1.Service](t, objs), find[*appsv1.Deployment](t, objs).Spec.Template
	if !labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(pod.Labels)) {
		t.Error("the Service does not select the pod")
	}
	listens := map[string]int32{}
	for _, port := range pod.Spec.Containers[0].Ports {
		listens[port.Name] = port.ContainerPort
	}
	for _, port := range service.Spec.Ports {
		if listens[port.TargetPort.String()] == 0 {
			t.Errorf("the Service's port %s leads to %s, which the pod does not have", port.Name, port.TargetPort.String())
		}
	}
}
