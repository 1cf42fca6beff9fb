package e2e_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/test/e2e/peer"
	"github.com/bellhop-dev/bellhop/test/rig"
)

// kubelet does with the node's kubelet what verb says: stop or start.
func kubelet(t *testing.T, verb string) {
	t.Helper()
	command := append(strings.Fields(os.Getenv("E2E_KUBELET")), verb)
	if _, err := run(context.Background(), command[0], command[1:]...); err != nil { // also when the test is over
		t.Error(err)
	}
}

// TestKubeletStopped stops the node's kubelet amid deliveries, which ends no container, and deletes the pod while
// nobody is there to end it; when the kubelet is back, another pod takes its place.
func TestKubeletStopped(t *testing.T) { //nolint:paralleltest // measures: others on the same node would disturb it
	if os.Getenv("E2E_KUBELET") == "" {
		t.Skip("E2E_KUBELET does not name a command that stops and starts the kubelet")
	}
	const early, late, first = 500, 1500, 1_000_000
	// The destination takes 100 events a second, so that there are always some waiting.
	n := newNamespace(t, 40*time.Millisecond)
	n.install(t, oneHook, toPeer)
	key, before := n.key(t, "app"), n.pod(t)
	n.accepted(t, push(key, rig.DeliveryID(1), recorded(t)))

	load := peer.Load{URL: hookURL(key), Key: key, Connections: 8, Rate: 250, Count: early, For: patience, First: first}
	if err := n.peer.Begin(t.Context(), load); err != nil {
		t.Fatal(err)
	}
	n.deliveries(t, early/10)
	stopped := time.Now()
	t.Cleanup(func() { kubelet(t, "start") }) // of no effect on one that runs
	kubelet(t, "stop")
	if _, err := run(t.Context(), "kubectl", "get", "--raw=/api/v1/nodes/"+before.Spec.NodeName+"/proxy/healthz"); err == nil {
		t.Fatal("the kubelet answers, although it was stopped")
	}
	serving, err := n.peer.Await(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if serving.Error != "" || serving.Acknowledged != early || serving.Refused() != 0 || serving.Broken != 0 {
		t.Errorf("without the kubelet the load was disturbed: %v %s", serving.Result, serving.Error)
	}

	load.Rate, load.Count, load.First, load.Persist = 100, late, first+early, true
	if err := n.peer.Begin(t.Context(), load); err != nil {
		t.Fatal(err)
	}
	n.deliveries(t, early)
	n.kubectl(t, "delete", "pod", before.Metadata.Name, "--wait=false")
	n.deliveries(t, 2*early) // by the pod that is deleted and does not know it
	kubelet(t, "start")
	started := time.Now()
	measured.add(t, "kubelet away for", started.Sub(stopped).Round(10*time.Millisecond))
	n.another(t, before, started)

	persisting, err := n.peer.Await(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if persisting.Error != "" || persisting.Acknowledged != late {
		t.Fatalf("acknowledged %d of %d: %s", persisting.Acknowledged, late, persisting.Error)
	}
	n.allDelivered(t, first, early+late, 1)
	measured.add(t, "refused without the kubelet", serving.Refused()+serving.Broken)
	measured.add(t, "broken connections, repeated", persisting.Broken)
	measured.add(t, "answers", persisting.Statuses)
	measured.add(t, "longest a push waited", rig.Percentile(persisting.Latencies, 100).Round(time.Millisecond))
	measured.add(t, "restarts of the new pod", n.pod(t).restarts())
}
