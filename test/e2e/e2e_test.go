package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/test/e2e/peer"
	"github.com/bellhop-dev/bellhop/test/rig"
)

// recorded is a push as GitHub sent one: of the recorded payloads, else the demo's.
func recorded(t *testing.T) []byte {
	t.Helper()
	file := "../../hack/demo/push.json"
	if dir := os.Getenv("BELLHOP_FIXTURES"); dir != "" {
		file = filepath.Join(dir, "github", "push-branch-signed-sha256.json")
	}
	body, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// TestInstall: one line installs; a push signed with the generated key is accepted and, once there is a
// destination, delivered. The destination comes without a restart.
func TestInstall(t *testing.T) { //nolint:paralleltest // measures: others on the same node would disturb it
	n := newNamespace(t, 0)
	n.install(t, oneHook)
	key, before := n.key(t, "app"), n.pod(t)

	// A signature of another key is refused from the beginning.
	forged := push(key, rig.DeliveryID(1), recorded(t))
	forged.Header["X-Hub-Signature-256"] = push([]byte("another key"), "", forged.Body).Header["X-Hub-Signature-256"]
	eventually(t, "an answer", func() bool {
		a, err := n.peer.Post(t.Context(), forged)
		if err != nil {
			t.Fatal(err)
		}
		if a.Error == "" && a.Status != 401 {
			t.Errorf("a forged push is answered %d: %s", a.Status, a.Body)
		}
		return a.Error == ""
	})

	n.helm(t, "upgrade", chartDir, "--reuse-values", toPeer)
	var events int
	start := time.Now()
	eventually(t, "a delivery", func() bool {
		// Until the running pod knows the destination, no route wants the event: 200.
		events++
		a, err := n.peer.Post(t.Context(), push(key, rig.DeliveryID(int64(1+events)), recorded(t)))
		if err != nil {
			t.Fatal(err)
		}
		if a.Status != 200 && a.Status != 202 {
			t.Fatalf("answered %d: %s%s", a.Status, a.Body, a.Error)
		}
		return a.Status == 202
	})
	measured.add(t, "destination live after helm upgrade", time.Since(start).Round(time.Millisecond))
	got := n.delivered(t, rig.DeliveryID(int64(1+events)))
	var posted struct {
		Data struct{ Endpoint, Source, Kind string }
	}
	if err := json.Unmarshal(got.Last, &posted); err != nil {
		t.Fatal(err)
	}
	if d := posted.Data; d.Endpoint != "app" || d.Source != "github" || d.Kind != "git.push" {
		t.Errorf("delivered %+v", d)
	}
	if len(got.Times) != 1 {
		t.Errorf("%d events were delivered, want 1", len(got.Times))
	}
	n.sameProcess(t, before)
}

// endpoint is a configuration file with one.
func endpoint(name string) string {
	return fmt.Sprintf("apiVersion: bellhop.dev/v1\nkind: Config\nendpoints:\n- {name: %[1]s, source: github, keyPath: %[1]s.key}\n", name)
}

// TestEndpointsAreAddedLive patches twenty endpoints in, one after the other, while pushes come to another one.
func TestEndpointsAreAddedLive(t *testing.T) { //nolint:paralleltest // measures: others on the same node would disturb it
	const count, rate = 20, 200
	n := newNamespace(t, 0)
	n.install(t, oneHook, toPeer)
	app, before := n.key(t, "app"), n.pod(t)
	n.accepted(t, push(app, rig.DeliveryID(1), recorded(t)))
	if err := n.peer.Begin(t.Context(), peer.Load{
		URL: hookURL(app), Key: app, Connections: 4, Rate: rate, Count: 1e6, For: 30 * time.Minute, First: 1_000_000,
	}); err != nil {
		t.Fatal(err)
	}

	var took []time.Duration
	keys := rig.NewKeys(count)
	for i, key := range keys {
		name := fmt.Sprintf("added-%02d", i)
		config := map[string]any{"data": map[string]string{
			name + ".yaml": endpoint(name),
		}}
		secret := map[string]any{"data": map[string][]byte{name + ".key": key}}
		// In turns, the key comes first and the endpoint does. The clock starts before the second patch is sent.
		var start time.Time
		if i%2 == 0 {
			n.patch(t, "secret/"+releaseName+"-keys", secret)
			start = time.Now()
			n.patch(t, "configmap/"+releaseName, config)
		} else {
			n.patch(t, "configmap/"+releaseName, config)
			start = time.Now()
			n.patch(t, "secret/"+releaseName+"-keys", secret)
		}
		n.accepted(t, push(key, rig.DeliveryID(int64(2+i)), recorded(t)))
		took = append(took, time.Since(start))
	}
	// An endpoint whose key is missing waits for it, however long: the configuration of before serves.
	lateKey := rig.NewKeys(1)[0]
	n.patch(t, "configmap/"+releaseName, map[string]any{"data": map[string]string{"late.yaml": endpoint("late")}})
	eventually(t, reloaded+" 0", func() bool { return n.metric(t, reloaded) == "0" })
	if a, err := n.peer.Post(t.Context(), push(lateKey, rig.DeliveryID(50), recorded(t))); err != nil || a.Status != 404 {
		t.Errorf("an endpoint without its key: %+v, %v", a, err)
	}
	if !n.pod(t).ready() {
		t.Error("for want of one endpoint's key the pod is not ready")
	}
	n.patch(t, "secret/"+releaseName+"-keys", map[string]any{"data": map[string][]byte{"late.key": lateKey}})
	n.accepted(t, push(lateKey, rig.DeliveryID(50), recorded(t)))

	// All of them, still.
	var ids []string
	for i, key := range append(keys, lateKey, app) {
		ids = append(ids, rig.DeliveryID(int64(100+i)))
		if a, err := n.peer.Post(t.Context(), push(key, ids[i], recorded(t))); err != nil || a.Status != 202 {
			t.Errorf("endpoint %d: %+v, %v", i, a, err)
		}
	}
	n.undisturbed(t)
	n.delivered(t, ids...)

	slices.Sort(took)
	measured.add(t, "endpoints added", len(took))
	measured.add(t, "patch to first 202, median", rig.Percentile(took, 50).Round(time.Millisecond))
	measured.add(t, "patch to first 202, max", rig.Percentile(took, 100).Round(time.Millisecond))
	n.sameProcess(t, before)
}

// What is wrong with a file broken.yaml, and where.
const (
	broken   = "apiVersion: bellhop.dev/v1\nkind: Config\nendpoint: []\n"
	brokenAt = "broken.yaml:3:1: "
)

// TestBrokenConfiguration: what cannot be read, or lacks a key, changes nothing but the metric, and tells of itself
// by Events on the ConfigMap, until it is mended.
func TestBrokenConfiguration(t *testing.T) { //nolint:paralleltest // measures: others on the same node would disturb it
	n := newNamespace(t, 0)
	n.install(t, oneHook, toPeer)
	key, before := n.key(t, "app"), n.pod(t)
	n.accepted(t, push(key, rig.DeliveryID(1), recorded(t)))

	for i, step := range []struct {
		patch        any // of the ConfigMap's data
		want         string
		reason, note string // of the Event
	}{
		{map[string]any{"broken.yaml": broken}, "0", "ConfigInvalid", brokenAt},
		{map[string]any{"broken.yaml": nil, "late.yaml": endpoint("late")}, "0", "KeyMissing", "late.key"},
		{map[string]any{"late.yaml": nil}, "1", "ConfigReloaded", "serves"},
	} {
		n.patch(t, "configmap/"+releaseName, map[string]any{"data": step.patch})
		start := time.Now()
		eventually(t, reloaded+" "+step.want, func() bool { return n.metric(t, reloaded) == step.want })
		n.told(t, step.reason, step.note)
		measured.add(t, reloaded+" "+step.want+" and Event "+step.reason+" after", time.Since(start).Round(10*time.Millisecond))
		id := rig.DeliveryID(int64(2 + i))
		if a, err := n.peer.Post(t.Context(), push(key, id, recorded(t))); err != nil || a.Status != 202 {
			t.Errorf("after %s a push is answered %+v, %v", step.reason, a, err)
		}
		n.delivered(t, id)
		if !n.pod(t).ready() {
			t.Errorf("after %s the pod is not ready", step.reason)
		}
	}
	if described := n.kubectl(t, "describe", "configmap/"+releaseName); !strings.Contains(described, "ConfigInvalid") {
		t.Errorf("kubectl describe does not tell of the Events:\n%s", described)
	}
	n.sameProcess(t, before)
}

// TestPodDeleted deletes the pod amid deliveries, as a node's drain does and as the kernel does.
func TestPodDeleted(t *testing.T) { //nolint:paralleltest // measures: others on the same node would disturb it
	for _, tc := range []struct {
		name  string
		flags []string
	}{
		{"drained", nil},
		{"killed", []string{"--grace-period=0", "--force"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			const count, rate, first = 2000, 400, 1_000_000
			// The destination is slower than the sender: the pod is deleted with deliveries waiting and on their way.
			n := newNamespace(t, 20*time.Millisecond)
			n.install(t, oneHook, toPeer)
			key, before := n.key(t, "app"), n.pod(t)
			n.accepted(t, push(key, rig.DeliveryID(1), recorded(t)))
			if err := n.peer.Begin(t.Context(), peer.Load{
				URL: hookURL(key), Key: key, Connections: 8, Rate: rate, Count: count, For: patience, First: first, Persist: true,
			}); err != nil {
				t.Fatal(err)
			}
			at := n.deliveries(t, count/4)
			deleted := time.Now()
			n.kubectl(t, append([]string{"delete", "pod", before.Metadata.Name, "--wait=false"}, tc.flags...)...)
			n.another(t, before, deleted)

			load, err := n.peer.Await(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if load.Error != "" || load.Acknowledged != count {
				t.Fatalf("acknowledged %d of %d: %s", load.Acknowledged, count, load.Error)
			}
			n.allDelivered(t, first, count, 1)
			measured.add(t, "delivered when the pod was deleted", at)
			measured.add(t, "broken connections, repeated", load.Broken)
			measured.add(t, "answers", load.Statuses)
			measured.add(t, "longest a push waited", rig.Percentile(load.Latencies, 100).Round(time.Millisecond))
			measured.add(t, "restarts of the new pod", n.pod(t).restarts())
		})
	}
}

// chartBefore is the chart as it was in the newest commit that has it in another version, as an archive.
func chartBefore(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("E2E_CHART_BEFORE"); dir != "" {
		return dir
	}
	git := func(args ...string) string {
		out, err := run(t.Context(), "git", append([]string{"-C", "../.."}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	version := func(chart string) string {
		_, rest, _ := strings.Cut("\n"+chart, "\nversion: ")
		version, _, _ := strings.Cut(rest, "\n")
		return version
	}
	now, err := os.ReadFile(filepath.Join(chartDir, "Chart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for commit := range strings.FieldsSeq(git("log", "--format=%H", "--", "chart")) {
		before := version(git("show", commit+":chart/Chart.yaml"))
		if before == version(string(now)) {
			continue
		}
		file := filepath.Join(t.TempDir(), "bellhop-"+before+".tgz")
		git("archive", "--format=tgz", "--prefix=bellhop/", "--output="+file, commit+":chart")
		measured.add(t, "version before", before)
		return file
	}
	if strings.TrimSpace(git("rev-parse", "--is-shallow-repository")) == "true" {
		t.Skip("this clone has not all of git's history: git fetch --unshallow, or name the chart before this one in E2E_CHART_BEFORE")
	}
	t.Fatal("git's history has the chart in one version only: name the chart before this one in E2E_CHART_BEFORE")
	return ""
}

// TestUpgradeRollbackUninstall goes from the chart's version of before to this one, back, and here again: keys and
// what waits in the queue outlive the pods, and uninstalling leaves what says that it stays and nothing else.
func TestUpgradeRollbackUninstall(t *testing.T) { //nolint:paralleltest // measures: others on the same node would disturb it
	n := newNamespace(t, 0)
	// Nobody listens there: what is accepted waits.
	const toNobody = "--set=providers[0].address=http://127.0.0.1:9/sink,providers[0].retry.maxBackoff=1s"
	n.helm(t, "install", chartBefore(t), ourImage, brief, oneHook, toPeer, toNobody)
	app, first := n.key(t, "app"), n.pod(t)
	n.accepted(t, push(app, rig.DeliveryID(1), recorded(t)))

	// This version: another pod with the same key and the same queue, so a delivery of before is a duplicate.
	n.helm(t, "upgrade", chartDir, "--reset-then-reuse-values")
	if string(n.key(t, "app")) != string(app) {
		t.Fatal("the upgrade changed a key")
	}
	second := n.pod(t)
	if second.Metadata.UID == first.Metadata.UID {
		t.Error("the pod is the one of before")
	}
	again := push(app, rig.DeliveryID(1), recorded(t))
	eventually(t, "a duplicate", func() bool {
		a, err := n.peer.Post(t.Context(), again)
		if err != nil {
			t.Fatal(err)
		}
		if a.Error == "" && (a.Status != 200 || !strings.Contains(a.Body, "duplicate")) {
			t.Fatalf("answered %d: %s", a.Status, a.Body)
		}
		return a.Error == ""
	})

	// Another hook, and the destination: the same process serves both.
	n.helm(t, "upgrade", chartDir, "--reset-then-reuse-values", oneHook+",hooks[1].name=other,hooks[1].source=github", toPeer)
	other := n.key(t, "other")
	n.accepted(t, push(other, rig.DeliveryID(2), recorded(t)))
	n.delivered(t, rig.DeliveryID(1), rig.DeliveryID(2))
	n.sameProcess(t, second)

	n.helm(t, "rollback", "1")
	if string(n.key(t, "app")) != string(app) {
		t.Error("the rollback changed a key")
	}
	n.accepted(t, push(app, rig.DeliveryID(3), recorded(t)))
	a, err := n.peer.Post(t.Context(), push(other, rig.DeliveryID(4), recorded(t)))
	if err != nil || a.Status != 404 {
		t.Errorf("the hook that was rolled back answers %d: %s%s, %v", a.Status, a.Body, a.Error, err)
	}
	n.helm(t, "rollback", "3")
	n.accepted(t, push(other, rig.DeliveryID(5), recorded(t)))
	got := n.delivered(t, rig.DeliveryID(3), rig.DeliveryID(5))
	for id, times := range got.Times {
		if times != 1 {
			t.Errorf("%s was delivered %d times", id, times)
		}
	}

	n.helm(t, "uninstall")
	kept, before := 0, ""
	eventually(t, "the end of what the chart made", func() bool {
		var goes []string
		kept = 0
		for _, o := range n.labelled(t) {
			if o.Metadata.Annotations["helm.sh/resource-policy"] == "keep" {
				kept++
				continue
			}
			goes = append(goes, o.Kind+"/"+o.Metadata.Name)
		}
		if now := strings.Join(goes, ", "); now != before {
			t.Log("still there: ", now)
			before = now
		}
		return len(goes) == 0
	})
	measured.add(t, "left by uninstall, as annotated", kept)
}

// object is what the tests ask of any object.
type object struct {
	Kind     string
	Metadata struct {
		Name        string
		Annotations map[string]string
	}
}

// labelled are all objects with the release's labels, of every kind, in its namespace and outside of namespaces.
// The cluster's own are among them: ReplicaSets, Pods and EndpointSlices inherit the labels, and end a moment
// after what they belong to.
func (n *namespace) labelled(t *testing.T) (all []object) {
	t.Helper()
	for _, namespaced := range []string{"true", "false"} {
		kinds := strings.Fields(n.kubectl(t, "api-resources", "--verbs=list,delete", "--namespaced="+namespaced, "--output=name"))
		var list struct{ Items []object }
		n.get(t, &list, strings.Join(kinds, ","), "--selector=app.kubernetes.io/name=bellhop,app.kubernetes.io/instance="+releaseName)
		all = append(all, list.Items...)
	}
	return all
}
