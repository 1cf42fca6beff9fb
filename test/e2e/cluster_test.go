package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/test/e2e/peer"
	"github.com/bellhop-dev/bellhop/test/rig"
)

const (
	// patience bounds every wait. A kubelet with default settings takes up to a minute and a half to update a volume.
	patience = 2 * time.Minute
	// between is the time from one look to the next.
	between = 20 * time.Millisecond
	// releaseName is every test's: the namespace tells them apart.
	releaseName = "bellhop"
	// suite is in the name of each namespace that the tests make, and its label app.kubernetes.io/part-of.
	suite = "bellhop-e2e"
)

// namespace is a test's own, with a peer in it.
type namespace struct {
	name string
	peer *peer.Client
}

// newNamespace makes one, and starts a peer whose answers to deliveries take delay.
func newNamespace(t *testing.T, delay time.Duration) *namespace {
	t.Helper()
	n := newQuietNamespace(t)
	n.startPeer(t, delay)
	return n
}

// newQuietNamespace makes one without a peer.
func newQuietNamespace(t *testing.T) *namespace {
	t.Helper()
	if !provided {
		t.Skip("KUBECONFIG and E2E_LOAD_IMAGE do not both name a cluster to test on: see `make e2e`")
	}
	n := &namespace{name: suite + "-" + strings.ToLower(rand.Text()[:8])}
	n.apply(t, fmt.Sprintf(`
apiVersion: v1
kind: Namespace
metadata:
  name: %s
  labels:
    app.kubernetes.io/part-of: %s
    pod-security.kubernetes.io/enforce: restricted
`, n.name, suite))
	t.Cleanup(func() {
		if t.Failed() {
			n.explain(t)
		}
		// The test's context is over by now.
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		// The release has objects outside of namespaces. Its namespace goes while the next test runs: see TestMain.
		_, uninstalled := run(ctx, "helm", "uninstall", releaseName, "--namespace="+n.name, "--ignore-not-found")
		_, deleted := run(ctx, "kubectl", "delete", "namespace", n.name, "--wait=false")
		if err := errors.Join(uninstalled, deleted); err != nil {
			t.Error(err)
		}
	})
	return n
}

// explain logs what the cluster knows of a test that failed.
func (n *namespace) explain(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, args := range [][]string{
		{"get", "pods,services,persistentvolumeclaims", "-o", "wide"},
		{"get", "events", "--sort-by=.lastTimestamp"},
		{"logs", "--selector=app.kubernetes.io/instance=" + releaseName, "--prefix", "--tail=50"}, // helm test's pod is one
	} {
		out, err := run(ctx, "kubectl", append([]string{"--namespace", n.name}, args...)...)
		t.Logf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// run runs a command. The error has what it wrote to standard error.
func run(ctx context.Context, name string, args ...string) ([]byte, error) {
	return runWith(ctx, "", name, args...)
}

func runWith(ctx context.Context, stdin, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(stdin), &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%s %s: %w: %s", name, args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}

// kubectl returns the command's standard output.
func (n *namespace) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := run(t.Context(), "kubectl", append([]string{"--namespace", n.name}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// apply creates or changes what the manifests say.
func (n *namespace) apply(t *testing.T, manifests string) {
	t.Helper()
	if _, err := runWith(t.Context(), manifests, "kubectl", "apply", "--filename=-"); err != nil {
		t.Fatal(err)
	}
}

// get decodes an object, or a list, into v.
func (n *namespace) get(t *testing.T, v any, args ...string) {
	t.Helper()
	if err := json.Unmarshal([]byte(n.kubectl(t, append([]string{"get", "--output=json"}, args...)...)), v); err != nil {
		t.Fatal(err)
	}
}

// patch merges the value into an object.
func (n *namespace) patch(t *testing.T, object string, patch any) {
	t.Helper()
	b, err := json.Marshal(patch)
	if err != nil {
		t.Fatal(err)
	}
	n.kubectl(t, "patch", object, "--type=merge", "--patch="+string(b))
}

// helm runs `helm VERB bellhop …` and waits until what it changed is ready.
func (n *namespace) helm(t *testing.T, verb string, args ...string) {
	t.Helper()
	args = append([]string{verb, releaseName}, args...)
	args = append(args, "--namespace="+n.name, "--wait", "--timeout="+patience.String())
	start := time.Now()
	if _, err := run(t.Context(), "helm", args...); err != nil {
		t.Fatal(err)
	}
	measured.add(t, "helm "+verb+" --wait", time.Since(start).Round(10*time.Millisecond))
}

// install installs the chart; each of sets is a --set.
func (n *namespace) install(t *testing.T, sets ...string) {
	t.Helper()
	n.helm(t, "install", append([]string{chartDir, ourImage}, sets...)...)
}

const (
	// ourImage is the image that TestMain loaded.
	ourImage = "--set=image.repository=" + repository + ",image.tag=" + tag
	// oneHook is what the README installs.
	oneHook = "--set=hooks[0].name=app,hooks[0].source=github"
	// brief shortens what pods wait for before they end, where that is not what is tested.
	brief = "--set=preStopSleepSeconds=1"
	// toPeer has every event delivered to the peer, whole.
	toPeer = "--set=providers[0].name=peer,providers[0].type=generic,providers[0].format=cloudevents,providers[0].address=http://peer:8080/sink"
)

// secret is a Secret's data.
func (n *namespace) secret(t *testing.T, name string) map[string][]byte {
	t.Helper()
	var secret struct{ Data map[string][]byte }
	n.get(t, &secret, "secret", name)
	return secret.Data
}

// key is an endpoint's, as the chart generated it.
func (n *namespace) key(t *testing.T, endpoint string) []byte {
	t.Helper()
	key := n.secret(t, releaseName+"-keys")[endpoint+".key"]
	if len(key) == 0 {
		t.Fatalf("the Secret has no key for %s", endpoint)
	}
	return key
}

// pod is what the tests ask of a pod.
type pod struct {
	Metadata struct {
		Name, UID         string
		DeletionTimestamp string
	}
	Spec   struct{ NodeName string }
	Status struct {
		Phase             string
		ContainerStatuses []struct {
			RestartCount int
			Ready        bool
		}
	}
}

func (p pod) ready() bool {
	return p.Metadata.DeletionTimestamp == "" && len(p.Status.ContainerStatuses) == 1 && p.Status.ContainerStatuses[0].Ready
}

func (p pod) restarts() int {
	sum := 0
	for _, c := range p.Status.ContainerStatuses {
		sum += c.RestartCount
	}
	return sum
}

// pods are the release's, those that are ending included.
func (n *namespace) pods(t *testing.T) []pod {
	t.Helper()
	var list struct{ Items []pod }
	n.get(t, &list, "pods", "--selector=app.kubernetes.io/name=bellhop")
	return list.Items
}

// pod is the release's only one.
func (n *namespace) pod(t *testing.T) pod {
	t.Helper()
	pods := n.pods(t)
	if len(pods) != 1 {
		t.Fatalf("%d pods, want 1", len(pods))
	}
	return pods[0]
}

// sameProcess fails the test unless the pod is the one that it was, and was never restarted.
func (n *namespace) sameProcess(t *testing.T, before pod) {
	t.Helper()
	after := n.pod(t)
	if after.Metadata.UID != before.Metadata.UID {
		t.Error("the pod is another one")
	}
	if r := after.restarts(); r != 0 {
		t.Errorf("the pod was restarted %d times", r)
	}
	measured.add(t, "restarts", after.restarts())
	measured.add(t, "same pod", after.Metadata.UID == before.Metadata.UID)
}

// hookURL is where a key's endpoint is, for the peer.
func hookURL(key []byte) string { return "http://" + releaseName + ":80/hook/" + rig.Fingerprint(key) }

// push is one push, signed with the key as GitHub signs.
//
// https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
func push(key []byte, delivery string, body []byte) peer.Message {
	mac := hmac.New(sha256.New, key)
	mac.Write(body)
	return peer.Message{URL: hookURL(key), Body: body, Header: map[string]string{
		"Content-Type": "application/json", "X-GitHub-Event": "push", "X-GitHub-Delivery": delivery,
		"X-Hub-Signature-256": "sha256=" + hex.EncodeToString(mac.Sum(nil)),
	}}
}

// eventually looks until done says true.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(between)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

// accepted posts the push until it is answered 202, and returns all answers. Until then there may be no way
// to the pod (an error: a new Service is not programmed at once) or no endpoint (404).
func (n *namespace) accepted(t *testing.T, m peer.Message) (answers []peer.Answer) {
	t.Helper()
	eventually(t, "an answer 202", func() bool {
		a, err := n.peer.Post(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, a)
		if a.Error == "" && a.Status != 202 && a.Status != 404 {
			t.Fatalf("answered %d: %s", a.Status, a.Body)
		}
		return a.Status == 202
	})
	return answers
}

// delivered waits until each of the deliveries came to the peer, and returns what did.
func (n *namespace) delivered(t *testing.T, ids ...string) (r peer.Received) {
	t.Helper()
	eventually(t, "deliveries", func() bool {
		var err error
		if r, err = n.peer.Received(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			if r.Times[id] == 0 {
				return false
			}
		}
		return true
	})
	if r.Mistake != "" {
		t.Errorf("the peer was sent what it should not: %s", r.Mistake)
	}
	return r
}

// deliveries waits until so many came to the peer, and returns how many did.
func (n *namespace) deliveries(t *testing.T, count int) (came int) {
	t.Helper()
	eventually(t, fmt.Sprint(count, " deliveries"), func() bool {
		r, err := n.peer.Received(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		came = len(r.Times)
		return came >= count
	})
	return came
}

// another waits until another pod than that of before is ready, and books how long that took since.
func (n *namespace) another(t *testing.T, before pod, since time.Time) {
	t.Helper()
	eventually(t, "another pod", func() bool {
		return slices.ContainsFunc(n.pods(t), func(p pod) bool { return p.ready() && p.Metadata.UID != before.Metadata.UID })
	})
	measured.add(t, "another pod ready after", time.Since(since).Round(10*time.Millisecond))
}

// undisturbed ends the peer's load and fails the test unless each push was answered with 2xx.
func (n *namespace) undisturbed(t *testing.T) {
	t.Helper()
	load, err := n.peer.End(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if load.Error != "" || load.Refused() != 0 || load.Broken != 0 || load.Acknowledged == 0 {
		t.Errorf("the load was disturbed: %v %s", load.Result, load.Error)
	}
	measured.add(t, "pushes meanwhile", load.Acknowledged)
	measured.add(t, "refused", load.Refused())
	measured.add(t, "broken connections", load.Broken)
	measured.add(t, "latency p50, p99, max", fmt.Sprint(
		rig.Percentile(load.Latencies, 50), rig.Percentile(load.Latencies, 99), rig.Percentile(load.Latencies, 100)))
}

// allDelivered waits for the deliveries of a load that was acknowledged, books what became of them, and waits until
// there are no more pods than the release has: those that ended meanwhile are gone. It returns how many deliveries came
// again.
func (n *namespace) allDelivered(t *testing.T, first int64, count, pods int) (again int) {
	t.Helper()
	ids := make([]string, count)
	for i := range ids {
		ids[i] = rig.DeliveryID(first + int64(i))
	}
	for _, times := range n.delivered(t, ids...).Times {
		again += times - 1
	}
	eventually(t, "the end of the pods that were told to", func() bool { return len(n.pods(t)) == pods })
	measured.add(t, "acknowledged", count)
	measured.add(t, "lost", 0) // else delivered had failed
	measured.add(t, "delivered again", again)
	return again
}

// reloaded is the metric that says whether the newest configuration is the one that serves.
const reloaded = "bellhop_config_last_reload_successful"

// metric is a metric's value as /metrics prints it; empty if it is not there.
func (n *namespace) metric(t *testing.T, name string) string {
	t.Helper()
	metrics := n.kubectl(t, "get", "--raw", "/api/v1/namespaces/"+n.name+"/services/"+releaseName+":admin/proxy/metrics")
	for line := range strings.Lines(metrics) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// told waits for a Kubernetes Event on the release's ConfigMap, of that reason and with that in its note.
func (n *namespace) told(t *testing.T, reason, note string) {
	t.Helper()
	eventually(t, fmt.Sprintf("an Event %s with %q", reason, note), func() bool {
		var list struct {
			Items []struct {
				Reason, Note string
				Regarding    struct{ Kind, Name string }
			}
		}
		n.get(t, &list, "events.events.k8s.io")
		for _, e := range list.Items {
			if e.Reason == reason && e.Regarding.Kind == "ConfigMap" && e.Regarding.Name == releaseName && strings.Contains(e.Note, note) {
				return true
			}
		}
		return false
	})
}

// serving is the line in which kubectl says which port it chose.
var serving = regexp.MustCompile(`^Starting to serve on (127\.0\.0\.1:[0-9]+)$`)

// startPeer runs the peer and opens a way to it: through the API server, which asks the pod itself. A forwarded port
// would go by the kubelet, and end with it.
func (n *namespace) startPeer(t *testing.T, delay time.Duration) {
	t.Helper()
	n.apply(t, fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: peer, namespace: %[1]s}
spec:
  selector: {app: peer}
  ports: [{port: 8080}]
---
apiVersion: v1
kind: Pod
metadata: {name: peer, namespace: %[1]s, labels: {app: peer}}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 1
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: peer
    image: %[2]s
    imagePullPolicy: IfNotPresent
    args: [-delay=%[3]v]
    readinessProbe: {httpGet: {path: /received, port: 8080}, periodSeconds: 1}
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
`, n.name, peerImage, delay))
	n.kubectl(t, "wait", "--for=condition=Ready", "pod/peer", "--timeout="+patience.String())

	cmd := exec.CommandContext(t.Context(), "kubectl", "proxy", "--port=0")
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address := make(chan string, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for s := bufio.NewScanner(out); s.Scan(); {
			if m := serving.FindStringSubmatch(s.Text()); m != nil {
				address <- m[1]
			}
		}
		_ = cmd.Wait() // ended by the test's context
	}()
	t.Cleanup(func() { <-ended })
	select {
	case a := <-address:
		n.peer = &peer.Client{Base: "http://" + a + "/api/v1/namespaces/" + n.name + "/pods/peer:8080/proxy"}
	case <-ended:
		t.Fatal("kubectl proxy ended")
	}
}
