package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/test/e2e/peer"
	"github.com/bellhop-dev/bellhop/test/rig"
)

// TestRolloutOnJetStream restarts three pods that share a queue, one after the other, under load: no push is refused,
// and each is delivered once.
func TestRolloutOnJetStream(t *testing.T) { //nolint:paralleltest // measures: others on the same node would disturb it
	const count, rate, first, replicas = 6000, 150, 1_000_000, 3
	n := newNamespace(t, 0)
	args := n.prepare(t, "nats", needed["nats"])
	// A prefix of its own: others were in this store before.
	n.install(t, append(args, "--values="+chartDir+"/ci/nats-values.yaml", toPeer, "--set=queue.nats.url=nats://nats.nats.svc:4222?prefix=rollout")...)
	key := n.key(t, "app")
	n.accepted(t, push(key, rig.DeliveryID(1), recorded(t)))

	if err := n.peer.Begin(t.Context(), peer.Load{
		URL: hookURL(key), Key: key, Connections: 8, Fresh: 4, Rate: rate, Count: count, For: patience, First: first,
	}); err != nil {
		t.Fatal(err)
	}
	n.deliveries(t, count/20)
	start := time.Now()
	n.kubectl(t, "rollout", "restart", "deployment/"+releaseName)
	n.kubectl(t, "rollout", "status", "deployment/"+releaseName, "--timeout="+patience.String())
	measured.add(t, "rollout restart of three pods", time.Since(start).Round(10*time.Millisecond))

	load, err := n.peer.Await(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if load.Error != "" || load.Acknowledged != count || load.Refused() != 0 || load.Broken != 0 {
		t.Errorf("the load was disturbed: %v %s", load.Result, load.Error)
	}
	measured.add(t, "refused", load.Refused())
	measured.add(t, "broken connections", load.Broken)
	measured.add(t, "latency p50, p99, max", fmt.Sprint(
		rig.Percentile(load.Latencies, 50), rig.Percentile(load.Latencies, 99), rig.Percentile(load.Latencies, 100)))
	if again := n.allDelivered(t, first, count, replicas); again != 0 {
		t.Errorf("%d deliveries came again", again)
	}
}
