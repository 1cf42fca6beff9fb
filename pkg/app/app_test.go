package app_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bellhop-dev/bellhop/pkg/app"
	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
	"github.com/bellhop-dev/bellhop/pkg/catalog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	key         = "an-example-key-of-32-characters!"
	tokenCanary = "t0ken-canary"
)

func fingerprint(key string) string {
	d := sha256.Sum256([]byte(key))
	return hex.EncodeToString(d[:])
}

// journal is a log that tests wait on.
type journal struct {
	mu      sync.Mutex
	lines   []string
	changed chan struct{}
}

func newJournal() *journal { return &journal{changed: make(chan struct{})} }

func (j *journal) Enabled(context.Context, slog.Level) bool { return true }
func (j *journal) WithAttrs([]slog.Attr) slog.Handler       { return j }
func (j *journal) WithGroup(string) slog.Handler            { return j }

func (j *journal) Handle(ctx context.Context, r slog.Record) error {
	var line bytes.Buffer
	err := slog.NewTextHandler(&line, &slog.HandlerOptions{Level: slog.LevelDebug}).Handle(ctx, r)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line.String())
	close(j.changed)
	j.changed = make(chan struct{})
	return err
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines, "")
}

// wait returns once a line from mark on holds the words, and the line after that one.
func (j *journal) wait(t *testing.T, mark int, words string) int {
	t.Helper()
	for {
		j.mu.Lock()
		fresh, changed := j.lines[mark:], j.changed
		j.mu.Unlock()
		for _, line := range fresh {
			mark++
			if strings.Contains(line, words) {
				return mark
			}
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatalf("%q never came", words)
		}
	}
}

// process is a Bellhop in this process.
type process struct {
	t        *testing.T
	dir      string
	settings app.Settings
	log      *journal
	addr     map[string]string
	stop     context.CancelFunc
	ended    chan error
	client   *http.Client
}

// files writes files below dir, each in one piece: a disk that is busy would have a reload see one empty.
func files(t *testing.T, dir string, content map[string]string) {
	t.Helper()
	draft := filepath.Join(t.TempDir(), "draft")
	for name, text := range content {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(draft, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(draft, path); err != nil {
			t.Fatal(err)
		}
	}
}

// start starts a Bellhop over the files config/… and secrets/… and waits until it listens.
func start(t *testing.T, content map[string]string, change ...func(*app.Settings)) *process {
	t.Helper()
	p := &process{t: t, dir: t.TempDir(), client: &http.Client{Transport: &http.Transport{}}}
	files(t, p.dir, content)
	for _, d := range []string{"config", "secrets"} {
		if err := os.MkdirAll(filepath.Join(p.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p.settings = app.Settings{
		Config: filepath.Join(p.dir, "config"), Secrets: filepath.Join(p.dir, "secrets"),
		Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", Queue: "file://" + filepath.Join(p.dir, "queue"),
		MaxBody: 1 << 20, RetentionAge: time.Hour, RetentionBytes: 1 << 30,
	}
	for _, f := range change {
		f(&p.settings)
	}
	p.run()
	t.Cleanup(p.end)
	return p
}

func (p *process) run() {
	p.t.Helper()
	p.log, p.addr, p.ended = newJournal(), map[string]string{}, make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	listeners := 2
	if p.settings.AdmissionListen != "" {
		listeners++
	}
	listening := make(chan struct{}, listeners)
	go func() {
		p.ended <- app.Run(ctx, &p.settings, app.Options{
			Catalog: catalog.All(), Logger: slog.New(p.log), Version: "test",
			Listening: func(name string, addr net.Addr) {
				p.addr[name] = addr.String()
				listening <- struct{}{}
			},
		})
	}()
	for range listeners {
		select {
		case <-listening:
		case err := <-p.ended:
			p.t.Fatalf("did not start: %v\n%s", err, p.log)
		}
	}
}

// end stops it and insists on a clean end.
func (p *process) end() {
	if p.stop == nil {
		return
	}
	p.stop()
	p.stop = nil
	p.client.CloseIdleConnections()
	if err := <-p.ended; err != nil {
		p.t.Errorf("ended with %v", err)
	}
	for _, secret := range []string{key, tokenCanary} {
		if strings.Contains(p.log.String(), secret) {
			p.t.Errorf("the log holds a secret")
		}
	}
}

type answer struct {
	ID, Result, Reason string
	Deliveries         int
	status             int
	retryAfter         string
}

// push posts a signed GitHub push.
func (p *process) push(base, key, delivery string) answer {
	p.t.Helper()
	a, err := p.tryPush(base, key, delivery)
	if err != nil {
		p.t.Fatal(err)
	}
	return a
}

func (p *process) tryPush(base, key, delivery string) (answer, error) {
	body := []byte(`{"ref":"refs/heads/main","after":"6113728f27ae82c7b1a177c8d03f9e96e0adf246","repository":{"full_name":"o/r","ssh_url":"git@github.com:o/r.git"},"sender":{"login":"me"}}`)
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write(body)
	req, err := http.NewRequest(http.MethodPost, base+"/hook/"+fingerprint(key), bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-GitHub-Event", "push")
	req.Header.Set("X-GitHub-Delivery", delivery)
	req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	return p.ask(req)
}

// ask sends a request to the receiver.
func (p *process) ask(req *http.Request) (answer, error) {
	res, err := p.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	a := answer{status: res.StatusCode, retryAfter: res.Header.Get("Retry-After")}
	return a, json.NewDecoder(res.Body).Decode(&a)
}

func (p *process) hooks() string { return "http://" + p.addr["receiver"] }

// get reads from the admin listener into v, and returns the status and the text.
func (p *process) get(path string, v any) (int, string) {
	p.t.Helper()
	res, err := p.client.Get("http://" + p.addr["admin"] + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	if v != nil {
		if err := json.Unmarshal(b, v); err != nil {
			p.t.Fatalf("%s: %v in %s", path, err, b)
		}
	}
	return res.StatusCode, string(b)
}

// sink is a destination that keeps what it gets.
type sink struct {
	*httptest.Server
	got chan string
}

func newSink(t *testing.T) *sink {
	t.Helper()
	s := &sink{got: make(chan string, 1000)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		s.got <- string(b)
	}))
	t.Cleanup(s.Close)
	return s
}

func native(endpoints, providers string) string {
	return "apiVersion: bellhop.dev/v1\nkind: Config\nendpoints:\n" + endpoints + "providers:\n" + providers
}

func githubEndpoint(name string) string {
	return fmt.Sprintf("- {name: %s, source: github, keyPath: %s.key}\n", name, name)
}

func genericProvider(url string) string {
	return fmt.Sprintf("- {name: sink, type: generic, address: %q, secretRef: {name: sink}}\n", url)
}

var sinkSecret = "X-Auth: " + tokenCanary + "\n"

func TestFromPushToProvider(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	p := start(t, map[string]string{
		"config/bellhop.yaml":  native(githubEndpoint("app"), genericProvider(s.URL)),
		"secrets/app.key":      key,
		"secrets/sink/headers": sinkSecret,
	})
	a := p.push(p.hooks(), key, "1")
	if a.status != 202 || a.Result != "accepted" || a.Deliveries != 1 {
		t.Fatalf("%+v", a)
	}
	if body := <-s.got; !strings.Contains(body, `"reason":"Push"`) {
		t.Errorf("delivered %s", body)
	}
	if again := p.push(p.hooks(), key, "1"); again.status != 200 || again.Result != "duplicate" || again.ID != a.ID {
		t.Errorf("again: %+v", again)
	}
	p.log.wait(t, 0, "delivered")
	var ds struct{ Items []bellhop.Delivery }
	p.get("/api/v1/deliveries?event="+a.ID, &ds)
	if len(ds.Items) != 1 || ds.Items[0].State != bellhop.Delivered || ds.Items[0].Attempts != 1 {
		t.Errorf("deliveries %+v", ds)
	}
	var e struct {
		ID, Title string
		Body      struct{ Ref string }
	}
	if status, _ := p.get("/api/v1/events/"+a.ID, &e); status != 200 || e.ID != a.ID || e.Body.Ref != "refs/heads/main" || e.Title == "" {
		t.Errorf("event %d %+v", status, e)
	}
	if status, _ := p.get("/readyz", nil); status != 200 {
		t.Errorf("readyz %d", status)
	}
	_, metrics := p.get("/metrics", nil)
	for _, line := range []string{
		`bellhop_received_total{endpoint="app",reason="",result="accepted",source="github"} 1`,
		`bellhop_received_total{endpoint="app",reason="delivery_seen",result="duplicate",source="github"} 1`,
		`bellhop_deliveries_total{provider="sink",result="delivered",type="generic"} 1`,
		`bellhop_queue_depth{provider="sink"} 0`, `bellhop_queue_oldest_seconds{provider="sink"} 0`, `bellhop_dead{provider="sink"} 0`,
		`bellhop_provider_suspended{provider="sink"} 0`, `bellhop_config_last_reload_successful 1`,
	} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("metrics lack %s", line)
		}
	}
	for _, path := range []string{"status", "endpoints", "providers", "routes", "events", "deliveries", "dead", "requests", "events/" + a.ID} {
		if status, text := p.get("/api/v1/"+path, nil); status != 200 || strings.Contains(text, key) || strings.Contains(text, tokenCanary) {
			t.Errorf("%s: %d, or it shows a secret: %s", path, status, text)
		}
	}
}

// The design document's file, with the API's address filled in: flux-recv's users change nothing.
func TestFluxRecvFile(t *testing.T) {
	t.Parallel()
	got := make(chan string, 10)
	flux := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- r.Method + " " + r.URL.Path + " " + r.Header.Get("Accept") + " " + string(body)
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(flux.Close)
	p := start(t, map[string]string{
		"config/fluxrecv.yaml": "fluxRecvVersion: 1 # must be present and equal `1`\napi: " + flux.URL + "/api/flux\n" +
			"endpoints:\n- source: DockerHub\n  keyPath: dockerhub_rsa\n- source: GitHub\n  keyPath: github_rsa\n",
		"config/dockerhub_rsa": "docker hub's key\n",
		"config/github_rsa":    key,
	})
	if a := p.push(p.hooks(), key, "1"); a.status != 202 || a.Deliveries != 1 {
		t.Errorf("push: %+v", a)
	}
	if call, want := <-got, `POST /api/flux/v11/notify application/json {"Kind":"git","Source":{"URL":"git@github.com:o/r.git","Branch":"main"}}`; call != want {
		t.Errorf("Flux was told\n%s\nwant\n%s", call, want)
	}
	res, err := p.client.Post(p.hooks()+"/hook/"+fingerprint("docker hub's key\n"), "application/json",
		strings.NewReader(`{"push_data":{"tag":"v1"},"repository":{"repo_name":"o/i"}}`))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if call, want := <-got, `POST /api/flux/v11/notify application/json {"Kind":"image","Source":{"Name":{"Domain":"","Image":"o/i"}}}`; call != want {
		t.Errorf("Flux was told\n%s\nwant\n%s", call, want)
	}
}

// What an endpoint is known by follows from its keys, not only from its source.
func TestEndpointsSayWhatTheyAreKnownBy(t *testing.T) {
	t.Parallel()
	const signing = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	p := start(t, map[string]string{
		"config/bellhop.yaml": native(
			"- {name: token, source: gitlab, keyPath: token.key}\n"+
				"- {name: signed, source: gitlab, keyPath: signed.key}\n"+
				"- {name: moving, source: gitlab, keyPaths: [moving.key, moving2.key]}\n"+
				"- {name: path, source: dockerhub, keyPath: path.key}\n"+
				"- {name: header, source: dockerhub, keyPath: header.key, auth: {header: X-Key}}\n",
			"- {name: log, type: log}\n"),
		"secrets/token.key": "t" + key, "secrets/signed.key": signing, "secrets/path.key": "p" + key, "secrets/header.key": "h" + key,
		"secrets/moving.key": signing[:len(signing)-4] + "AAAA", "secrets/moving2.key": "m" + key,
	})
	var endpoints struct {
		Items []struct {
			Name         string
			Verification bellhop.Verification
		}
	}
	p.get("/api/v1/endpoints", &endpoints)
	got := map[string]bellhop.Verification{}
	for _, e := range endpoints.Items {
		got[e.Name] = e.Verification
	}
	for name, want := range map[string]bellhop.Verification{
		"token": bellhop.ByToken, "signed": bellhop.BySignature, "moving": bellhop.ByToken, "path": bellhop.ByPath, "header": bellhop.ByToken,
	} {
		if got[name] != want {
			t.Errorf("%s is known by %q, want %q", name, got[name], want)
		}
	}
}

// What waits when the process ends is delivered by the next one.
func TestBacklogOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	p := start(t, map[string]string{
		"config/bellhop.yaml":  native(githubEndpoint("app"), genericProvider("http://127.0.0.1:1")),
		"secrets/app.key":      key,
		"secrets/sink/headers": sinkSecret,
	})
	a := p.push(p.hooks(), key, "1")
	p.log.wait(t, 0, "to be retried")
	p.end()
	s := newSink(t)
	files(t, p.dir, map[string]string{"config/bellhop.yaml": native(githubEndpoint("app"), genericProvider(s.URL))})
	p.run()
	if body := <-s.got; !strings.Contains(body, "o/r") {
		t.Errorf("delivered %s", body)
	}
	if again := p.push(p.hooks(), key, "1"); again.Result != "duplicate" || again.ID != a.ID {
		t.Errorf("duplicates are forgotten over a restart: %+v", again)
	}
}

// Two processes want one directory, as when a pod comes before the one that it replaces is gone: the later waits, and
// ends in order when it is stopped while it waits.
func TestTheQueueOfAnotherIsWaitedFor(t *testing.T) {
	t.Parallel()
	first := start(t, nil)
	for _, stopped := range []bool{true, false} {
		log, listening := newJournal(), make(chan struct{}, 2)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- app.Run(ctx, &first.settings, app.Options{Catalog: catalog.All(), Logger: slog.New(log),
				Listening: func(string, net.Addr) { listening <- struct{}{} }})
		}()
		log.wait(t, 0, "waiting for the queue")
		if !stopped {
			first.end()
			<-listening
		}
		stop()
		if err := <-ended; err != nil {
			t.Errorf("stopped while waiting: %v: %v", stopped, err)
		}
	}
}

func TestABrokenConfigurationAtStartIsNamedAndMended(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	p := start(t, map[string]string{
		"config/bellhop.yaml":  native("- {name: app, source: gihtub, keyPath: app.key}\n", "- {name: sink, type: generic, adress: x}\n"),
		"secrets/app.key":      key,
		"secrets/sink/headers": sinkSecret,
	})
	for _, words := range []string{"bellhop.yaml:4:", "bellhop.yaml:6:", "github", "address"} {
		if !strings.Contains(p.log.String(), words) {
			t.Errorf("the log does not name %s:\n%s", words, p.log)
		}
	}
	if status, text := p.get("/readyz", nil); status != 503 || !strings.Contains(text, "configuration") {
		t.Errorf("readyz %d %s", status, text)
	}
	if status, _ := p.get("/healthz", nil); status != 200 {
		t.Errorf("healthz %d", status)
	}
	if a := p.push(p.hooks(), key, "1"); a.status != 503 || a.Reason != "not_configured" {
		t.Errorf("%+v", a)
	}
	files(t, p.dir, map[string]string{"config/bellhop.yaml": native(githubEndpoint("app"), genericProvider(s.URL))})
	p.log.wait(t, 0, "configuration ready")
	if a := p.push(p.hooks(), key, "1"); a.status != 202 {
		t.Errorf("%+v", a)
	}
	if status, _ := p.get("/readyz", nil); status != 200 {
		t.Errorf("readyz %d", status)
	}
	<-s.got
}

func TestHotReloadUnderLoad(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	p := start(t, map[string]string{
		"config/bellhop.yaml":  native(githubEndpoint("app"), genericProvider(s.URL)),
		"secrets/app.key":      key,
		"secrets/sink/headers": sinkSecret,
	})
	go func() {
		for range s.got { // keeps the sink from filling up
		}
	}()
	done, senders := make(chan struct{}), sync.WaitGroup{}
	senders.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			if a, err := p.tryPush(p.hooks(), key, fmt.Sprint(i)); err != nil || a.status != 202 {
				t.Errorf("under a reload: %+v, %v", a, err)
			}
		}
	})
	mark := p.log.wait(t, 0, "configuration ready")
	second := strings.ToUpper(key)
	files(t, p.dir, map[string]string{
		"secrets/late.key":    second,
		"config/bellhop.yaml": native(githubEndpoint("app")+githubEndpoint("late"), genericProvider(s.URL)),
	})
	mark = p.log.wait(t, mark, "name=late")
	p.log.wait(t, mark, "configuration ready")
	if a := p.push(p.hooks(), second, "late"); a.status != 202 {
		t.Errorf("the new endpoint: %+v", a)
	}
	files(t, p.dir, map[string]string{"config/bellhop.yaml": "apiVersion: bellhop.dev/v1\nkind: Config\nendpoint: []\n"})
	mark = p.log.wait(t, mark, "the configuration is not used")
	if !strings.Contains(p.log.String(), "bellhop.yaml:3:1: endpoint") {
		t.Errorf("the problem is not named:\n%s", p.log)
	}
	if a := p.push(p.hooks(), second, "late-2"); a.status != 202 {
		t.Errorf("the last good configuration does not serve: %+v", a)
	}
	if _, metrics := p.get("/metrics", nil); !strings.Contains(metrics, "bellhop_config_last_reload_successful 0\n") {
		t.Error("the metric does not tell of the broken configuration")
	}
	if status, _ := p.get("/readyz", nil); status != 200 {
		t.Errorf("readyz %d although the last good configuration serves", status)
	}
	files(t, p.dir, map[string]string{"config/bellhop.yaml": native(githubEndpoint("app"), genericProvider(s.URL))})
	p.log.wait(t, mark, "configuration ready")
	if a := p.push(p.hooks(), second, "late-3"); a.status != 404 {
		t.Errorf("the removed endpoint: %+v", a)
	}
	close(done)
	senders.Wait()
	p.end()
	s.Close()
	close(s.got)
}

func TestARenewedCertificateIsServed(t *testing.T) {
	t.Parallel()
	ca := bellhoptest.NewAuthority(t)
	first, renewed := ca.Issue(t, "127.0.0.1"), ca.Issue(t, "127.0.0.1")
	p := start(t, map[string]string{
		"config/bellhop.yaml": native(githubEndpoint("app"), "- {name: log, type: log}\n"),
		"secrets/app.key":     key,
		"tls/tls.crt":         string(first.Cert),
		"tls/tls.key":         string(first.Key),
	}, func(s *app.Settings) {
		dir := filepath.Join(filepath.Dir(s.Config), "tls")
		s.TLSCertFile, s.TLSKeyFile = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	})
	serves := func(pair bellhoptest.Pair) bool {
		t.Helper()
		c, err := tls.Dial("tcp", p.addr["receiver"], &tls.Config{RootCAs: ca.Pool})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return bytes.Equal(c.ConnectionState().PeerCertificates[0].Raw, pair.TLS.Certificate[0])
	}
	if !serves(first) {
		t.Fatal("another certificate is served")
	}
	mark := p.log.wait(t, 0, "certificate ready")
	files(t, p.dir, map[string]string{"tls/tls.key": string(renewed.Key)})
	mark = p.log.wait(t, mark, "the old certificate serves on")
	if !serves(first) {
		t.Error("the old certificate is not served after a key that does not fit")
	}
	files(t, p.dir, map[string]string{"tls/tls.crt": string(renewed.Cert)})
	p.log.wait(t, mark, "certificate ready")
	if !serves(renewed) {
		t.Error("the new certificate is not served after the renewal")
	}
	if _, metrics := p.get("/metrics", nil); !strings.Contains(metrics, `bellhop_tls_not_after_seconds{listener="receiver"}`) {
		t.Error("the expiry is not exported")
	}
}

func TestNetworks(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "", "10.1.2.3/8": "10.0.0.0/8", " 192.0.2.1 , 2001:db8::1/64,": "192.0.2.1/32,2001:db8::/64",
	} {
		var n app.Networks
		if err := n.UnmarshalText([]byte(in)); err != nil {
			t.Errorf("%q: %v", in, err)
		}
		if got, _ := n.MarshalText(); string(got) != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	for _, in := range []string{"x", "10.0.0.0/33", "10.0.0.0/8;192.0.2.1"} {
		var n app.Networks
		if err := n.UnmarshalText([]byte(in)); err == nil {
			t.Errorf("%q is taken as %v", in, n)
		}
	}
}

// A client certificate that the endpoint names is asked for by the listener and checked by the endpoint.
func TestClientCertificate(t *testing.T) {
	t.Parallel()
	servers, clients := bellhoptest.NewAuthority(t), bellhoptest.NewAuthority(t)
	server, client := servers.Issue(t, "127.0.0.1"), clients.Issue(t, "hooks")
	endpoint := "- {name: app, source: github, keyPath: app.key, auth: {clientCertificate: {names: [hooks]}}}\n"
	p := start(t, map[string]string{
		"config/bellhop.yaml": native(endpoint, "- {name: log, type: log}\n"),
		"secrets/app.key":     key,
		"tls/tls.crt":         string(server.Cert),
		"tls/tls.key":         string(server.Key),
		"tls/client-ca.crt":   string(clients.PEM),
	}, func(s *app.Settings) {
		dir := filepath.Join(filepath.Dir(s.Config), "tls")
		s.TLSCertFile, s.TLSKeyFile, s.TLSClientCAFile = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), filepath.Join(dir, "client-ca.crt")
	})
	for _, tc := range []struct {
		certificates []tls.Certificate
		status       int
		reason       string
	}{{nil, 401, bellhop.ReasonCertificateDenied}, {[]tls.Certificate{client.TLS}, 202, ""}} {
		p.client.CloseIdleConnections()
		p.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: servers.Pool, Certificates: tc.certificates}}
		if a := p.push("https://"+p.addr["receiver"], key, "1"); a.status != tc.status || a.Reason != tc.reason {
			t.Errorf("with %d certificates: %+v", len(tc.certificates), a)
		}
	}
}

func TestWhatKeepsItFromStarting(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	files(t, dir, map[string]string{"config/c.yaml": native("", ""), "foreign/file": "x", "empty": ""})
	good := app.Settings{
		Config: filepath.Join(dir, "config"), Secrets: dir, Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0",
		Queue: "file://" + filepath.Join(dir, "queue"), MaxBody: 1,
	}
	for words, change := range map[string]func(*app.Settings){
		"BELLHOP_CONFIG":            func(s *app.Settings) { s.Config = filepath.Join(dir, "nowhere") },
		"address already in use":    func(s *app.Settings) { s.Listen = taken.Addr().String() },
		"foreign":                   func(s *app.Settings) { s.Queue = "file://" + filepath.Join(dir, "foreign") },
		"ftp":                       func(s *app.Settings) { s.Queue = "ftp://x" },
		"over HTTPS only":           func(s *app.Settings) { s.TLSClientCAFile = "x" },
		"nothing.crt":               func(s *app.Settings) { s.TLSCertFile, s.TLSKeyFile = filepath.Join(dir, "nothing.crt"), "x" },
		"both or neither":           func(s *app.Settings) { s.TLSCertFile = "x" },
		"needs admission-cert-file": func(s *app.Settings) { s.AdmissionListen = "127.0.0.1:0" },
		"set admission-listen too":  func(s *app.Settings) { s.AdmissionCertFile, s.AdmissionKeyFile = "x", "x" },
		"TLS of the admission": func(s *app.Settings) {
			s.AdmissionListen, s.AdmissionCertFile, s.AdmissionKeyFile = "127.0.0.1:0", filepath.Join(dir, "nothing.crt"), "x"
		},
		"is empty": func(s *app.Settings) { s.AdminTokenFile = filepath.Join(dir, "empty") },
	} {
		s := good
		change(&s)
		err := app.Run(t.Context(), &s, app.Options{Catalog: catalog.All(), Logger: slog.New(slog.DiscardHandler)})
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("want an error with %q, got %v", words, err)
		}
	}
}
