// Package apiserver runs a real Kubernetes API for tests: etcd and kube-apiserver, nothing else, on loopback
// ports of their own. No controller runs, so nothing happens to an object but what a test does.
//
// The two programs are in the folder that KUBEBUILDER_ASSETS names, as for controller-runtime's envtest, which
// tells how to get them: https://book.kubebuilder.io/reference/envtest
package apiserver

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/test/rig"
)

// The users of the API, each with a token that is its name. User may do what RBAC grants it, which is nothing
// at first but what Kubernetes grants everybody.
const (
	Admin = "admin"
	User  = "bellhop"
)

// Server is a running API.
type Server struct {
	URL string // https://127.0.0.1:…
	// CA is the file with the certificate to trust.
	CA string

	client    *http.Client
	processes []*exec.Cmd

	assets, dir string
	arguments   []string // of kube-apiserver
}

// startTimeout bounds the start, which takes about three seconds.
const startTimeout = 2 * time.Minute

// Start runs an API for a test and ends it afterwards. It skips the test where KUBEBUILDER_ASSETS is not set.
func Start(t *testing.T) *Server {
	t.Helper()
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	if assets == "" {
		t.Skip("KUBEBUILDER_ASSETS is not set: name a folder with etcd and kube-apiserver")
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	dir := t.TempDir()
	s := &Server{}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("stopping the API server: %v", err)
		}
	})
	if err := s.start(ctx, assets, dir); err != nil {
		for _, name := range []string{"etcd.log", "kube-apiserver.log"} {
			if text, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
				t.Logf("the end of %s:\n%s", name, text[max(0, len(text)-4<<10):])
			}
		}
		t.Fatalf("starting the API server: %v", err)
	}
	return s
}

func (s *Server) start(ctx context.Context, assets, dir string) error {
	var addresses [3]string
	for i := range addresses {
		var err error
		if addresses[i], err = rig.FreeAddress(); err != nil {
			return err
		}
	}
	etcd, peer, secure := "http://"+addresses[0], "http://"+addresses[1], addresses[2]
	_, port, _ := bytes.Cut([]byte(secure), []byte(":"))
	file := func(name string) string { return filepath.Join(dir, name) }
	tokens := fmt.Sprintf("%s,%s,1,system:masters\n%s,%s,2\n", Admin, Admin, User, User)
	if err := errors.Join(os.WriteFile(file("tokens.csv"), []byte(tokens), 0o600), writeKey(file("accounts.key"))); err != nil {
		return err
	}
	if err := os.WriteFile(file("audit.yaml"), []byte(auditPolicy), 0o600); err != nil {
		return err
	}
	s.assets, s.dir = assets, dir
	s.arguments = []string{
		"--etcd-servers=" + etcd, "--cert-dir=" + file("certificates"),
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port=" + string(port),
		"--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.0.0.0/24",
		"--authorization-mode=RBAC", "--token-auth-file=" + file("tokens.csv"), "--disable-admission-plugins=ServiceAccount",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + file("accounts.key"), "--service-account-signing-key-file=" + file("accounts.key"),
		"--audit-policy-file=" + file("audit.yaml"), "--audit-log-path=" + file("audit.log"),
	}
	err := errors.Join(
		s.run(assets, dir, "etcd", "--data-dir="+file("etcd"), "--unsafe-no-fsync", "--log-level=error",
			"--listen-client-urls="+etcd, "--advertise-client-urls="+etcd,
			"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer),
		s.run(assets, dir, "kube-apiserver", s.arguments...),
	)
	if err != nil {
		return err
	}
	s.URL, s.CA = "https://"+secure, file("certificates/apiserver.crt")
	return s.awaitReady(ctx)
}

// auditPolicy has what User asks written down, once it is answered.
const auditPolicy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- {level: Metadata, users: [` + User + `]}
- {level: None}
`

// awaitReady returns once the API answers.
func (s *Server) awaitReady(ctx context.Context) error {
	return poll(ctx, func() error {
		if s.client == nil {
			client, err := trusting(s.CA)
			if err != nil {
				return err // the server is about to write it
			}
			s.client = client
		}
		_, err := s.Do(ctx, http.MethodGet, "/readyz", nil)
		return err
	})
}

// run starts a program whose output goes to a file. It finds itself by the name it is called by.
func (s *Server) run(assets, dir, name string, args ...string) error {
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(assets, name), args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	err = cmd.Start()
	if err == nil {
		s.processes = append(s.processes, cmd)
	}
	return errors.Join(err, log.Close()) // the program has it now
}

// StopAPI ends the API server, and keeps what it stored.
func (s *Server) StopAPI(t *testing.T) {
	t.Helper()
	last := len(s.processes) - 1
	cmd := s.processes[last]
	s.processes = s.processes[:last]
	if err := cmd.Process.Kill(); err != nil {
		t.Fatalf("stopping the API server: %v", err)
	}
	_ = cmd.Wait() // "signal: killed"
}

// StartAPI starts it again after StopAPI, where it was, and returns once it answers.
func (s *Server) StartAPI(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	if err := s.run(s.assets, s.dir, "kube-apiserver", s.arguments...); err != nil {
		t.Fatal(err)
	}
	if err := s.awaitReady(ctx); err != nil {
		t.Fatalf("starting the API server again: %v", err)
	}
}

// stop kills the programs: nothing of theirs is kept.
func (s *Server) stop() error {
	var errs []error
	for _, cmd := range s.processes {
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			errs = append(errs, err)
		}
		_ = cmd.Wait() // "signal: killed"
	}
	return errors.Join(errs...)
}

// writeKey writes the key that service accounts' tokens would be signed with.
func writeKey(path string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}

func trusting(ca string) (*http.Client, error) {
	text, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate yet", ca)
	}
	return &http.Client{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}},
		Timeout:   30 * time.Second,
	}, nil
}

// poll tries until it succeeds or ctx ends.
func poll(ctx context.Context, try func() error) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-ticker.C:
		}
	}
}

// Do asks the API as the administrator. A body is YAML, or JSON, which is YAML too. What is not 2xx is an error.
func (s *Server) Do(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.URL+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+Admin)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/yaml")
	if method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/merge-patch+json")
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, bytes.TrimSpace(answer))
	}
	return answer, nil
}

// Create makes an object in a collection such as /api/v1/namespaces.
func (s *Server) Create(t *testing.T, collection, manifest string) {
	t.Helper()
	if _, err := s.Do(t.Context(), http.MethodPost, collection, []byte(manifest)); err != nil {
		t.Fatal(err)
	}
}

// Define makes a kind, and returns once it is served under path, such as /apis/example.com/v1/widgets.
func (s *Server) Define(t *testing.T, definition, path string) {
	t.Helper()
	s.Create(t, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	if err := poll(ctx, func() error {
		_, err := s.Do(ctx, http.MethodGet, path, nil)
		return err
	}); err != nil {
		t.Fatalf("waiting for the kind to be served: %v", err)
	}
}

// Annotations are those of the object at path.
func (s *Server) Annotations(t *testing.T, path string) map[string]string {
	t.Helper()
	answer, err := s.Do(t.Context(), http.MethodGet, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	var o struct {
		Metadata struct {
			Annotations map[string]string `json:"annotations"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(answer, &o); err != nil {
		t.Fatal(err)
	}
	return o.Metadata.Annotations
}

// Kubeconfig writes a file for a user, whose namespace is the given one, and returns its path.
func (s *Server) Kubeconfig(t *testing.T, user, namespace string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: %q, certificate-authority: %q}}]
users: [{name: user, user: {token: %q}}]
contexts: [{name: test, context: {cluster: test, user: user, namespace: %q}}]
current-context: test
`, s.URL, s.CA, user, namespace)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
