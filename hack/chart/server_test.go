package chart_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	psa "k8s.io/pod-security-admission/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// apiServer starts a real API server that knows the kinds of all manifests. What it warns of fails the test.
func apiServer(t *testing.T) client.Client {
	t.Helper()
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Skip("KUBEBUILDER_ASSETS is not set: name a folder with etcd and kube-apiserver")
	}
	files, err := exec.CommandContext(t.Context(), "../crds", "cert-manager", "gateway-api", "prometheus-operator").Output()
	if err != nil {
		t.Fatal(err)
	}
	env := &envtest.Environment{CRDDirectoryPaths: strings.Fields(string(files)), ErrorIfCRDPathMissing: true}
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Error(err)
		}
	})
	config, err := env.Start()
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	config.WarningHandlerWithContext = warnings{t}
	c, err := client.New(config, client.Options{Scheme: kinds})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type warnings struct{ t *testing.T }

var _ rest.WarningHandlerWithContext = warnings{}

func (w warnings) HandleWarningHeaderWithContext(_ context.Context, _ int, _ string, text string) {
	w.t.Error("warning: ", text)
}

func createNamespaces(t *testing.T, c client.Client, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			psa.EnforceLevelLabel: string(psa.LevelRestricted), psa.WarnLevelLabel: string(psa.LevelRestricted),
		}}}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestServerSideDryRun has an API server judge all manifests, by its schemas, its validation and those of the CRDs.
func TestServerSideDryRun(t *testing.T) {
	t.Parallel()
	c := apiServer(t)
	createNamespaces(t, c, namespace, "flux-system", "apps")
	dry := client.WithFieldValidation(client.NewDryRunClient(c), client.FieldValidation(metav1.FieldValidationStrict))

	misspelt := &unstructured.Unstructured{}
	misspelt.SetUnstructuredContent(map[string]any{
		"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
		"metadata": map[string]any{"name": "misspelt", "namespace": namespace}, "spec": map[string]any{"hostname": []any{"hooks.example.com"}},
	})
	if err := dry.Create(t.Context(), misspelt); err == nil || !strings.Contains(err.Error(), `unknown field "spec.hostname"`) {
		t.Errorf("an unknown field: %v", err)
	}
	for name, v := range values(t) {
		manifests, err := render(t, v, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range sortedKeys(manifests) {
			if !strings.HasSuffix(file, ".yaml") {
				continue
			}
			docs := yaml.NewYAMLOrJSONDecoder(bufio.NewReader(strings.NewReader(manifests[file])), 4096)
			for {
				o := &unstructured.Unstructured{}
				if err := docs.Decode(&o.Object); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatalf("%s: %s: %v", name, file, err)
				}
				if len(o.Object) == 0 {
					continue
				}
				if err := dry.Create(t.Context(), o); err != nil {
					t.Errorf("%s: %s: %v", name, file, err)
				}
			}
		}
	}
}

// TestCan is the matrix of what the pod's ServiceAccount may do, as the API server says that it may, and of all that
// it must not.
func TestCan(t *testing.T) {
	t.Parallel()
	// The ConfigMap by its name, and no other.
	const writeEvents = "create events.k8s.io/events, patch events.k8s.io/events, get /configmaps/bellhop"
	fluxKinds := []string{
		"helm.toolkit.fluxcd.io/helmreleases", "image.toolkit.fluxcd.io/imagepolicies", "image.toolkit.fluxcd.io/imagerepositories",
		"image.toolkit.fluxcd.io/imageupdateautomations", "kustomize.toolkit.fluxcd.io/kustomizations", "source.extensions.fluxcd.io/artifactgenerators",
		"source.toolkit.fluxcd.io/buckets", "source.toolkit.fluxcd.io/gitrepositories", "source.toolkit.fluxcd.io/helmcharts",
		"source.toolkit.fluxcd.io/helmrepositories", "source.toolkit.fluxcd.io/ocirepositories",
	}
	annotate := "get " + strings.Join(fluxKinds, ", get ") + ", list " + strings.Join(fluxKinds, ", list ") + ", patch " + strings.Join(fluxKinds, ", patch ")
	resources := append([]string{
		"/configmaps", "/configmaps/bellhop", "/configmaps/other", "/endpoints", "/events", "/namespaces", "/nodes", "/persistentvolumeclaims",
		"/pods", "/secrets", "/serviceaccounts", "/services", "admissionregistration.k8s.io/validatingwebhookconfigurations",
		"apps/deployments", "authorization.k8s.io/subjectaccessreviews", "cert-manager.io/certificates", "coordination.k8s.io/leases",
		"events.k8s.io/events", "networking.k8s.io/ingresses", "rbac.authorization.k8s.io/clusterroles", "rbac.authorization.k8s.io/roles",
	}, fluxKinds...)
	verbs := []string{"get", "list", "watch", "create", "update", "patch", "delete"}

	c := apiServer(t)
	createNamespaces(t, c, "default-values", "no-api", "api", "secrets", "flux-system", "apps", "other")
	for name, tc := range map[string]struct {
		namespace, account string
		may                map[string]string // by namespace
	}{
		"default": {"default-values", "bellhop", map[string]string{"default-values": writeEvents}},
		"no-api":  {"no-api", "default", nil},
		"api":     {"api", "bellhop", map[string]string{"api": writeEvents + ", list /secrets, watch /secrets", "flux-system": annotate, "apps": annotate}},
		"secrets": {"secrets", "bellhop", map[string]string{"secrets": writeEvents}},
	} {
		manifests, err := renderIn(t, tc.namespace, values(t)[name], nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range objects(t, manifests) {
			switch o := o.(type) {
			case *rbacv1.Role, *rbacv1.RoleBinding:
				if err := c.Create(t.Context(), o.(client.Object)); err != nil {
					t.Fatal(err)
				}
			}
		}
		can := func(ctx context.Context, namespace, verb, resource string) (bool, error) {
			group, resource, _ := strings.Cut(resource, "/")
			resource, object, _ := strings.Cut(resource, "/")
			review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
				User:   "system:serviceaccount:" + tc.namespace + ":" + tc.account,
				Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + tc.namespace, "system:authenticated"},
				ResourceAttributes: &authorizationv1.ResourceAttributes{
					Namespace: namespace, Verb: verb, Group: group, Resource: resource, Name: object,
				},
			}}
			err := c.Create(ctx, review)
			return review.Status.Allowed, err
		}
		may := map[[3]string]bool{}
		for namespace, list := range tc.may {
			for access := range strings.SplitSeq(list, ", ") {
				verb, resource, _ := strings.Cut(access, " ")
				may[[3]string{namespace, verb, resource}] = true
			}
		}
		// The authorizer learns of a Role a moment after it is made.
		for access := range may {
			if err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
				return can(ctx, access[0], access[1], access[2])
			}); err != nil {
				t.Errorf("%s: may not %s %s in %s: %v", name, access[1], access[2], access[0], err)
			}
		}
		for _, namespace := range slices.Concat(slices.Sorted(maps.Keys(tc.may)), []string{"other", ""}) {
			for _, resource := range resources {
				for _, verb := range verbs {
					allowed, err := can(t.Context(), namespace, verb, resource)
					if err != nil {
						t.Fatal(err)
					}
					if allowed && !may[[3]string{namespace, verb, resource}] {
						t.Errorf("%s: may %s %s in %q", name, verb, resource, namespace)
					}
				}
			}
		}
	}
}
