package app_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/app"
	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
)

// admissionReview is what the Kubernetes API posts about a new ConfigMap.
func admissionReview(t *testing.T, configuration string) string {
	t.Helper()
	text, err := json.Marshal(configuration)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "1", "operation": "CREATE",
		"kind": {"group": "", "version": "v1", "kind": "ConfigMap"}, "namespace": "hooks", "name": "bellhop",
		"object": {"metadata": {"labels": {"bellhop.dev/config": "true"}}, "data": {"bellhop.yaml": %s}}}}`, text)
}

// The webhook answers over HTTPS before there is a good configuration, and with a renewed certificate.
func TestAdmission(t *testing.T) {
	t.Parallel()
	ca := bellhoptest.NewAuthority(t)
	pair := ca.Issue(t, "127.0.0.1")
	p := start(t, map[string]string{
		"config/bellhop.yaml": "broken: [\n",
		"secrets/app.key":     key,
		"tls/tls.crt":         string(pair.Cert),
		"tls/tls.key":         string(pair.Key),
	}, func(s *app.Settings) {
		dir := filepath.Join(filepath.Dir(s.Config), "tls")
		s.AdmissionListen = "127.0.0.1:0"
		s.AdmissionCertFile, s.AdmissionKeyFile = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	})
	type answer struct {
		Response struct {
			Allowed bool
			Status  struct{ Message string }
		}
	}
	review := func(ca *bellhoptest.Authority, configuration string) answer {
		t.Helper()
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool}, DisableKeepAlives: true}}
		res, err := client.Post("https://"+p.addr["admission"]+"/", "application/json", strings.NewReader(admissionReview(t, configuration)))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var a answer
		if err := json.NewDecoder(res.Body).Decode(&a); err != nil {
			t.Fatal(err)
		}
		return a
	}
	if a := review(ca, native(githubEndpoint("app"), "- {name: log, type: log}\n")); !a.Response.Allowed {
		t.Errorf("a good configuration: %+v", a)
	}
	broken := native("- {name: app, source: gihtub, keyPath: app.key}\n", "")
	if a := review(ca, broken); a.Response.Allowed || !strings.HasPrefix(a.Response.Status.Message, "bellhop.yaml:4:23: endpoints[0].source: ") {
		t.Errorf("a broken configuration: %+v", a)
	}
	mark := p.log.wait(t, 0, "certificate ready")
	other := bellhoptest.NewAuthority(t) // vouches for the renewed certificate alone
	pair = other.Issue(t, "127.0.0.1")
	files(t, p.dir, map[string]string{"tls/tls.crt": string(pair.Cert), "tls/tls.key": string(pair.Key)})
	p.log.wait(t, mark, "certificate ready")
	if a := review(other, broken); a.Response.Allowed {
		t.Errorf("with the renewed certificate: %+v", a)
	}
	_, metrics := p.get("/metrics", nil)
	for _, line := range []string{
		`bellhop_tls_not_after_seconds{listener="admission"} `,
		`bellhop_admission_total{kind="ConfigMap",result="allowed"} 1`,
		`bellhop_admission_total{kind="ConfigMap",result="refused"} 2`,
	} {
		if !strings.Contains(metrics, line) {
			t.Errorf("metrics lack %s", line)
		}
	}
}
