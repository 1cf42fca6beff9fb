package e2e_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/test/e2e/image"
)

// needs is what a file of values needs of the cluster beside the objects in testdata/values.
type needs struct {
	certManager bool
	jetStream   bool
	// kinds is the project whose kinds are defined, as hack/crds calls it.
	kinds string
	// publicURL is what the values say that hook URLs begin with.
	publicURL string
	// unwanted is an event that there is no provider for.
	unwanted bool
}

var needed = map[string]needs{
	"autoscaling":           {jetStream: true},
	"cert-manager":          {certManager: true},
	"existing-certificates": {certManager: true}, // makes those that exist
	"default":               {unwanted: true},
	"full":                  {publicURL: "https://hooks.example.com"},
	"gateway":               {kinds: "gateway-api", publicURL: "https://hooks.example.com"},
	"ingress":               {publicURL: "https://hooks.example.com"},
	"issuer":                {certManager: true, publicURL: "https://hooks.example.com"},
	"monitoring":            {kinds: "prometheus-operator"},
	"nats":                  {jetStream: true},
}

// TestValues installs each chart/ci/*-values.yaml and runs the commands that the notes name, helm test among them.
func TestValues(t *testing.T) { //nolint:paralleltest // measures: others on the same node would disturb it
	files, err := filepath.Glob(filepath.Join(chartDir, "ci", "*-values.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no ci/*-values.yaml: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), "-values.yaml")
		t.Run(name, func(t *testing.T) {
			n := newQuietNamespace(t)
			need := needed[name]
			args := append([]string{"--values=" + file}, n.prepare(t, name, need)...)
			n.install(t, args...)
			n.follow(t, need)
			n.received(t, need)
			if name == "existing-certificates" {
				n.refused(t)
			}
		})
	}
}

// prepare provides what the values need, or skips the test, and returns what to install them with.
func (n *namespace) prepare(t *testing.T, name string, need needs) (args []string) {
	t.Helper()
	if need.certManager {
		n.needCertManager(t)
	}
	if need.jetStream {
		loadNATSServer(t)
		n.apply(t, n.manifests(t, "nats")) // for all tests, until the last has ended: see TestMain
		n.kubectl(t, "wait", "--namespace=nats", "--for=condition=Ready", "pod/nats", "--timeout="+patience.String())
	}
	if need.kinds != "" {
		out, err := run(t.Context(), "../../hack/crds", need.kinds)
		if err != nil {
			t.Fatal(err)
		}
		for file := range strings.FieldsSeq(string(out)) {
			n.kubectl(t, "apply", "--server-side", "--filename="+file)
			n.kubectl(t, "wait", "--for=condition=Established", "--filename="+file)
		}
	}
	if name != "nats" {
		n.provide(t, name)
	}
	if name == "existing-certificates" {
		// The values have an authority of nobody's, and namespaces of their own.
		n.kubectl(t, "wait", "--for=condition=Ready", "certificates", "--all", "--timeout="+patience.String())
		ca := filepath.Join(t.TempDir(), "ca.crt")
		if err := os.WriteFile(ca, n.secret(t, "hooks-admission")["ca.crt"], 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--set-file=admission.caBundle="+ca, "--set=admission.namespaceSelector.matchExpressions[0].values={"+n.name+"}")
	}
	return args
}

// manifests are the objects of testdata/values/NAME.yaml; empty if there are none.
func (n *namespace) manifests(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "values", name+".yaml"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "NAMESPACE", n.name)
}

// provide makes the objects of testdata/values/NAME.yaml, if there are any, until the test ends.
func (n *namespace) provide(t *testing.T, name string) {
	t.Helper()
	manifests := n.manifests(t, name)
	if manifests == "" {
		return
	}
	n.apply(t, manifests)
	t.Cleanup(func() {
		if _, err := runWith(context.Background(), manifests, "kubectl", "delete", "--ignore-not-found", "--wait=false", "--filename=-"); err != nil {
			t.Error(err)
		}
	})
}

// needCertManager skips the test where the cluster has none.
func (n *namespace) needCertManager(t *testing.T) {
	t.Helper()
	if n.kubectl(t, "get", "customresourcedefinition", "certificates.cert-manager.io", "--ignore-not-found", "--output=name") == "" {
		t.Skip("the cluster has no cert-manager: see https://cert-manager.io/docs/installation/helm/")
	}
}

// loadNATSServer loads the image of testdata/values/nats.yaml.
func loadNATSServer(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	server := filepath.Join(dir, "nats-server")
	if err := build(server, "github.com/nats-io/nats-server/v2"); err != nil {
		t.Fatal(err)
	}
	if err := load(image.Image{
		Ref:        "localhost/nats-server:e2e",
		Dockerfile: "FROM scratch\nCOPY nats-server /nats-server\nUSER 65532:65532\nENTRYPOINT [\"/nats-server\"]\n",
		Built:      map[string]string{"nats-server": server},
	}, filepath.Join(dir, "image.tar")); err != nil {
		t.Fatal(err)
	}
}

// command is one in the notes.
var command = regexp.MustCompile(`(?m)^  ((?:kubectl|helm) .*)$`)

// follow runs the commands that the notes name, but for those that forward a port until they are ended.
func (n *namespace) follow(t *testing.T, need needs) {
	t.Helper()
	notes, err := run(t.Context(), "helm", "get", "notes", releaseName, "--namespace="+n.name)
	if err != nil {
		t.Fatal(err)
	}
	const urls, test = "urls of the endpoints", "helm test"
	var followed []string
	for _, match := range command.FindAllStringSubmatch(string(notes), -1) {
		line := match[1]
		if strings.Contains(line, " port-forward ") {
			continue
		}
		start := time.Now()
		out, err := run(t.Context(), "sh", "-c", line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if len(out) == 0 {
			t.Errorf("%s: says nothing", line)
		}
		switch {
		case strings.HasSuffix(line, " urls"):
			followed = append(followed, urls)
			if !strings.Contains(string(out), " "+need.publicURL+"/hook/") {
				t.Errorf("%s: none begins with %s/hook/:\n%s", line, need.publicURL, out)
			}
		case strings.Contains(line, " test "):
			followed = append(followed, test)
			measured.add(t, test, time.Since(start).Round(10*time.Millisecond))
		}
	}
	if !slices.Equal(followed, []string{urls, test}) {
		t.Errorf("of the notes, these were followed: %v\n%s", followed, notes)
	}
}

// received fails the test unless a pod counts the request of helm test, as the only one.
func (n *namespace) received(t *testing.T, need needs) {
	t.Helper()
	result := "accepted"
	if need.unwanted {
		result = "filtered"
	}
	counted := regexp.MustCompile(`(?m)^bellhop_received_total\{endpoint="app",[^}]*result="` + result + `"[^}]*\} 1$`)
	if !slices.ContainsFunc(n.pods(t), func(p pod) bool {
		return counted.MatchString(n.kubectl(t, "get", "--raw", "/api/v1/namespaces/"+n.name+"/pods/"+p.Metadata.Name+":9090/proxy/metrics"))
	}) {
		t.Errorf("no pod counts a request of helm test as %s", result)
	}
}
