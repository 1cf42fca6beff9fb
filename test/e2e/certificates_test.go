package e2e_test

import (
	"crypto/x509"
	"encoding/pem"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/test/e2e/peer"
	"github.com/bellhop-dev/bellhop/test/rig"
)

// tlsHookURL is where a key's endpoint is when the receiver serves HTTPS.
func tlsHookURL(key []byte) string {
	return "https://" + releaseName + ":443/hook/" + rig.Fingerprint(key)
}

// tlsPush is a push over a connection of its own, whose certificate is verified against ca.
func tlsPush(key, ca []byte, delivery string, body []byte) peer.Message {
	m := push(key, delivery, body)
	m.URL, m.CA = tlsHookURL(key), ca
	return m
}

// leaf is the certificate in a Secret of cert-manager's.
func (n *namespace) leaf(t *testing.T, secret string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(n.secret(t, secret)["tls.crt"])
	if block == nil {
		t.Fatalf("the Secret %s holds no certificate", secret)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// renew asks cert-manager for another certificate in the way of `cmctl renew`, and waits until it is served:
// served posts a message over a new connection and returns the serial that it saw. The authority stays.
//
// https://cert-manager.io/docs/reference/cmctl/#renew
func (n *namespace) renew(t *testing.T, certificate, listener string, ca []byte, served func() string) {
	t.Helper()
	before := n.leaf(t, certificate)
	n.kubectl(t, "patch", "certificate/"+certificate, "--subresource=status", "--type=json", `--patch=[{
		"op": "add", "path": "/status/conditions/-", "value": {
			"type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "Certificate re-issuance manually triggered",
			"lastTransitionTime": "`+time.Now().UTC().Format(time.RFC3339)+`"}}]`)
	start := time.Now()
	var serial string
	eventually(t, "another serial", func() bool {
		serial = served()
		return serial != before.SerialNumber.Text(16)
	})
	measured.add(t, listener+": renewal to another serial served", time.Since(start).Round(10*time.Millisecond))

	after := n.leaf(t, certificate)
	if serial != after.SerialNumber.Text(16) {
		t.Errorf("serial %s is served, the Secret holds %s", serial, after.SerialNumber.Text(16))
	}
	if string(n.secret(t, certificate)["ca.crt"]) != string(ca) {
		t.Error("the renewal changed the authority")
	}
	if !after.NotAfter.After(before.NotAfter) {
		t.Errorf("the renewed certificate ends at %v, the one before it at %v", after.NotAfter, before.NotAfter)
	}
	shown := n.metric(t, `bellhop_tls_not_after_seconds{listener="`+listener+`"}`)
	if seconds, err := strconv.ParseFloat(shown, 64); err != nil || int64(seconds) != after.NotAfter.Unix() {
		t.Errorf("the metric says %s, the certificate ends at %d", shown, after.NotAfter.Unix())
	}
}

// refusal applies a broken ConfigMap, and returns what is said against it.
func (n *namespace) refusal(t *testing.T) string {
	t.Helper()
	_, err := run(t.Context(), "kubectl", "--namespace", n.name, "patch", "configmap/"+releaseName, "--type=merge",
		`--patch={"data": {"broken.yaml": `+strconv.Quote(broken)+`}}`)
	if err == nil {
		t.Fatal("a broken ConfigMap was stored")
	}
	return err.Error()
}

// refused waits until admission can be reached and refuses a broken ConfigMap in the words of `bellhop check`.
func (n *namespace) refused(t *testing.T) {
	t.Helper()
	eventually(t, "a refusal by admission", func() bool { return strings.Contains(n.refusal(t), brokenAt) })
}

// TestCertificates: receiver and admission, both with certificates of cert-manager's, are installed in one go though
// admission refuses what it cannot look at; their certificates are renewed under load; a new pod and a new
// configuration come in one upgrade.
func TestCertificates(t *testing.T) { //nolint:paralleltest // measures: others on the same node would disturb it
	n := newNamespace(t, 0)
	n.needCertManager(t)
	n.install(t, "--values="+chartDir+"/ci/cert-manager-values.yaml", brief, toPeer)
	key, before := n.key(t, "app"), n.pod(t)
	ca := n.secret(t, releaseName+"-tls")["ca.crt"]
	eventually(t, "an answer", func() bool {
		a, err := n.peer.Post(t.Context(), tlsPush(key, ca, rig.DeliveryID(1), recorded(t)))
		if err != nil {
			t.Fatal(err)
		}
		return a.Status == 202
	})
	n.refused(t)

	if err := n.peer.Begin(t.Context(), peer.Load{
		URL: tlsHookURL(key), Key: key, CA: ca, Connections: 8, Fresh: 4, Rate: 200, Count: 1e6, For: 30 * time.Minute, First: 1_000_000,
	}); err != nil {
		t.Fatal(err)
	}
	posted := int64(1)
	n.renew(t, releaseName+"-tls", "receiver", ca, func() string {
		posted++
		a, err := n.peer.Post(t.Context(), tlsPush(key, ca, rig.DeliveryID(posted), recorded(t)))
		if err != nil || a.Status != 202 {
			t.Fatalf("while the certificate is renewed a push is answered %+v, %v", a, err)
		}
		return a.Serial
	})
	n.renew(t, releaseName+"-admission", "admission", ca, func() string {
		a, err := n.peer.Post(t.Context(), peer.Message{URL: "https://" + releaseName + "-admission:443/", CA: ca})
		if err != nil || a.Error != "" {
			t.Fatalf("while the certificate is renewed admission answers %+v, %v", a, err)
		}
		return a.Serial
	})
	if words := n.refusal(t); !strings.Contains(words, brokenAt) {
		t.Errorf("with a renewed certificate admission refuses without %q: %s", brokenAt, words)
	}
	n.undisturbed(t)
	n.delivered(t, rig.DeliveryID(1), rig.DeliveryID(posted))
	n.sameProcess(t, before)

	// The old pod judges the ConfigMap, then the new one takes its place.
	n.helm(t, "upgrade", chartDir, "--reset-then-reuse-values", oneHook+",hooks[1].name=other,hooks[1].source=github", "--set=podAnnotations.e2e=again")
	if n.pod(t).Metadata.UID == before.Metadata.UID {
		t.Error("the pod is the one of before")
	}
	other := n.key(t, "other")
	eventually(t, "an answer of the new hook", func() bool {
		a, err := n.peer.Post(t.Context(), tlsPush(other, ca, rig.DeliveryID(posted+1), recorded(t)))
		if err != nil {
			t.Fatal(err)
		}
		return a.Status == 202
	})
	n.refused(t)
}
