package verify_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
	"github.com/bellhop-dev/bellhop/pkg/verify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	issuerURL     = "https://issuer.example"
	discoveryPath = "/.well-known/openid-configuration"
	keysPath      = "/keys"
)

// network is the way to an issuer: it counts, and it can be cut.
type network struct {
	http.RoundTripper
	mu     sync.Mutex
	asked  map[string]int // by path
	down   bool
	header http.Header   // added to answers
	gate   chan struct{} // if not nil, answers wait for it to be closed
}

func newNetwork(h http.Handler) *network {
	return &network{RoundTripper: bellhoptest.InMemory(h).Transport, asked: map[string]int{}, header: http.Header{}}
}

func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	n.mu.Lock()
	n.asked[r.URL.Path]++
	down, gate := n.down, n.gate
	n.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	if down {
		return nil, errors.New("no route to host")
	}
	resp, err := n.RoundTripper.RoundTrip(r)
	if err == nil {
		maps.Copy(resp.Header, n.header)
	}
	return resp, err
}

func (n *network) cut(down bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = down
}

func (n *network) fetches() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked[keysPath]
}

// issuerTest is an issuer with two keys, of which one is published, and those who met it. Its time is the
// bubble's.
type issuerTest struct {
	*testing.T
	issuer   *bellhoptest.Issuer
	network  *network
	issuers  *verify.Issuers
	old, new bellhoptest.IssuerKey
}

func testIssuer(t *testing.T, f func(*issuerTest)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		i := &issuerTest{T: t, old: bellhoptest.NewIssuerKey("old"), new: bellhoptest.NewIssuerKey("new")}
		i.issuer = bellhoptest.NewIssuer(i.old)
		i.network = newNetwork(i.issuer)
		i.issuers = verify.NewIssuers(&http.Client{Transport: i.network}, nil)
		defer i.issuers.Close()
		f(i)
	})
}

// after lets time pass, and what it sets off come to rest.
func (i *issuerTest) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (i *issuerTest) token(k bellhoptest.IssuerKey) string {
	return k.Token(map[string]any{"sub": "somebody"})
}

// believed looks at a token of the key, and then lets what that set off come to rest.
func (i *issuerTest) believed(k bellhoptest.IssuerKey) {
	i.Helper()
	payload, err := i.issuers.Payload(i.Context(), issuerURL, i.token(k))
	if err != nil || string(payload) != `{"sub":"somebody"}` {
		i.Errorf("token of the key %q: payload %s, error %v", k.ID, payload, err)
	}
	synctest.Wait()
}

func (i *issuerTest) rejected(k bellhoptest.IssuerKey, reason string) {
	i.Helper()
	token := i.token(k)
	_, err := i.issuers.Payload(i.Context(), issuerURL, token)
	wants(i, err, reason, strings.Split(token, ".")...)
	synctest.Wait()
}

// unavailable: nobody can say, which is nobody's forgery.
func (i *issuerTest) unavailable(k bellhoptest.IssuerKey, text string) {
	i.Helper()
	_, err := i.issuers.Payload(i.Context(), issuerURL, i.token(k))
	if _, rejected := errors.AsType[*bellhop.Rejection](err); err == nil || rejected || !strings.Contains(err.Error(), text) {
		i.Errorf("token of the key %q: error %v, want one with %q", k.ID, err, text)
	}
	synctest.Wait()
}

func (i *issuerTest) fetched(want int) {
	i.Helper()
	if got := i.network.fetches(); got != want {
		i.Errorf("the keys were fetched %d times, want %d", got, want)
	}
}

func TestIssuersAskOnceForAll(t *testing.T) {
	t.Parallel()
	testIssuer(t, func(i *issuerTest) {
		i.network.gate = make(chan struct{})
		errs := make(chan error)
		for range 50 {
			go func() {
				_, err := i.issuers.Payload(i.Context(), issuerURL, i.token(i.old))
				errs <- err
			}()
		}
		synctest.Wait() // all wait for the issuer
		close(i.network.gate)
		for range 50 {
			if err := <-errs; err != nil {
				i.Error(err)
			}
		}
		i.believed(i.old)
		i.fetched(1)
		if n := i.network.asked[discoveryPath]; n != 1 {
			i.Errorf("discovered %d times", n)
		}
	})
}

func TestIssuersKeepKeysFresh(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		control, age string
		fresh        time.Duration
	}{
		{"", "", time.Hour},
		{"public", "", time.Hour},
		{"max-age=600", "", 10 * time.Minute},
		{"public, Max-Age=7200, must-revalidate", "", 2 * time.Hour},
		{`max-age="600"`, "", 10 * time.Minute},
		{"max-age=7200", "3600", time.Hour},
		{"max-age=3600", "7200", 5 * time.Minute},
		{"max-age=0", "", 5 * time.Minute},
		{"max-age=-1", "", 5 * time.Minute},
		{"max-age=soon", "", 5 * time.Minute},
		{"max-age=99999999999999999999", "", 5 * time.Minute},
		{"max-age=4294967295", "", 24 * time.Hour},
		{"no-store", "", 5 * time.Minute},
		{"no-cache, max-age=7200", "", 5 * time.Minute},
	} {
		t.Run(c.control, func(t *testing.T) {
			t.Parallel()
			testIssuer(t, func(i *issuerTest) {
				i.network.header.Set("Cache-Control", c.control)
				i.network.header.Set("Age", c.age)
				i.believed(i.old)
				i.after(c.fresh - time.Second)
				i.believed(i.old)
				i.fetched(1)
				i.after(time.Second)
				i.believed(i.old)
				i.fetched(2)
				i.believed(i.old)
				i.fetched(2)
			})
		})
	}
}

// Nobody waits for keys that are only a little old.
func TestIssuersFetchInTheBackground(t *testing.T) {
	t.Parallel()
	testIssuer(t, func(i *issuerTest) {
		i.believed(i.old)
		i.issuer.Publish(i.new)
		i.network.gate = make(chan struct{})
		i.after(time.Hour)
		i.believed(i.old) // while the new ones are on their way
		if n := i.network.asked[discoveryPath]; n != 2 {
			i.Errorf("asked %d times, want 2", n)
		}
		close(i.network.gate)
		synctest.Wait()
		i.believed(i.new)
		i.rejected(i.old, bellhop.ReasonTokenKeyUnknown)
	})
}

// Keys that nobody has asked for in a long time are looked at before they are believed.
func TestIssuersAskFirstAfterAQuietTime(t *testing.T) {
	t.Parallel()
	testIssuer(t, func(i *issuerTest) {
		i.believed(i.old)
		i.issuer.Publish(i.new)
		i.after(2 * time.Hour)
		i.rejected(i.old, bellhop.ReasonTokenKeyUnknown)
		i.fetched(2)
	})
	testIssuer(t, func(i *issuerTest) {
		i.believed(i.old)
		i.network.cut(true)
		i.after(48 * time.Hour)
		i.believed(i.old)
		i.fetched(1)
	})
}

func TestIssuersRotateKeys(t *testing.T) {
	t.Parallel()
	testIssuer(t, func(i *issuerTest) {
		i.believed(i.old)
		i.issuer.Publish(i.old, i.new)
		i.after(time.Minute)
		i.believed(i.new) // fetched at once
		i.believed(i.old)
		i.fetched(2)
		i.issuer.Publish(i.new)
		i.believed(i.old) // who would know?
		i.after(time.Hour)
		i.believed(i.new)
		i.rejected(i.old, bellhop.ReasonTokenKeyUnknown)
		i.fetched(3)
	})
}

// Whatever tokens come, the issuer is asked once a minute.
func TestIssuersAreNotFlooded(t *testing.T) {
	t.Parallel()
	testIssuer(t, func(i *issuerTest) {
		strangers := make([]bellhoptest.IssuerKey, 20)
		for n := range strangers {
			strangers[n] = bellhoptest.NewIssuerKey(fmt.Sprint("stranger ", n))
		}
		strangers[7].ID = ""
		for minute := range 5 {
			for _, s := range strangers {
				i.rejected(s, bellhop.ReasonTokenKeyUnknown)
			}
			i.fetched(minute + 1)
			i.after(59 * time.Second)
			i.rejected(strangers[0], bellhop.ReasonTokenKeyUnknown)
			i.fetched(minute + 1)
			i.after(time.Second)
		}
		// A known id with another key says enough.
		forged := strangers[0]
		forged.ID = i.old.ID
		i.rejected(forged, bellhop.ReasonSignatureMismatch)
		i.fetched(5)
		// And what is no token costs nothing at all.
		if _, err := i.issuers.Payload(i.Context(), issuerURL, "a.b.c"); err == nil {
			i.Error("no token is believed")
		}
		i.fetched(5)
	})
}

func TestIssuersOutOfReach(t *testing.T) {
	t.Parallel()
	testIssuer(t, func(i *issuerTest) {
		i.network.cut(true)
		i.unavailable(i.old, "no route to host")
		i.unavailable(i.old, "no route to host")
		if n := i.network.asked[discoveryPath]; n != 1 {
			i.Errorf("asked %d times at once", n)
		}
		i.after(10 * time.Second)
		i.network.cut(false)
		i.believed(i.old)
	})
}

func TestIssuersAreUsedOnWhileOutOfReach(t *testing.T) {
	t.Parallel()
	testIssuer(t, func(i *issuerTest) {
		i.believed(i.old)
		i.network.cut(true)
		for hour := range 71 {
			i.after(time.Hour)
			i.believed(i.old)
			if hour == 0 {
				i.after(time.Minute)
				i.unavailable(i.new, "no route to host") // it may be a new key
				i.unavailable(i.new, "no route to host")
				forged := i.new
				forged.ID = i.old.ID
				i.rejected(forged, bellhop.ReasonSignatureMismatch)
			}
		}
		i.after(time.Hour - time.Minute - time.Second)
		i.believed(i.old)
		i.after(time.Second)
		i.unavailable(i.old, "older than 72h")
		i.network.cut(false)
		i.after(10 * time.Second)
		i.believed(i.old)
	})
}

func TestIssuersThatHang(t *testing.T) {
	t.Parallel()
	testIssuer(t, func(i *issuerTest) {
		i.network.gate = make(chan struct{})
		began := time.Now()
		i.unavailable(i.old, "deadline exceeded")
		if took := time.Since(began); took != 10*time.Second {
			i.Errorf("waited %v", took)
		}
		// Who goes away takes nobody else's answer away.
		i.after(10 * time.Second)
		ctx, cancel := context.WithCancel(i.Context())
		errs := make(chan error, 1)
		go func() {
			_, err := i.issuers.Payload(ctx, issuerURL, i.token(i.old))
			errs <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-errs; !errors.Is(err, context.Canceled) {
			i.Errorf("cancelled: %v", err)
		}
		close(i.network.gate)
		synctest.Wait()
		i.believed(i.old)
		if n := i.network.asked[discoveryPath]; n != 2 {
			i.Errorf("asked %d times", n)
		}
	})
}

// While the issuer hangs, who was believed before waits for nothing.
func TestIssuersThatHangHoldUpNobody(t *testing.T) {
	t.Parallel()
	testIssuer(t, func(i *issuerTest) {
		i.believed(i.old)
		i.network.gate = make(chan struct{})
		i.after(time.Hour)
		for range 10 {
			began := time.Now()
			i.believed(i.old)
			if took := time.Since(began); took != 0 {
				i.Errorf("waited %v", took)
			}
			i.after(time.Hour)
		}
	})
}

func TestIssuersClose(t *testing.T) {
	t.Parallel()
	testIssuer(t, func(i *issuerTest) {
		i.believed(i.old)
		i.network.gate = make(chan struct{})
		i.after(time.Hour)
		i.believed(i.old) // one is under way
		i.issuers.Close()
		i.issuers.Close()
		i.believed(i.old)
		if _, err := i.issuers.Payload(i.Context(), "https://another.example", i.token(i.old)); err == nil {
			i.Error("an issuer was met after the end")
		}
		i.fetched(1)
	})
}

// What an issuer says must be what it is asked for, and not too much.
func TestIssuersThatAnswerOddly(t *testing.T) {
	t.Parallel()
	key := bellhoptest.NewIssuerKey("1")
	good := bellhoptest.NewIssuer(key)
	document := func(path, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == path {
				fmt.Fprint(w, body)
				return
			}
			good.ServeHTTP(w, r)
		})
	}
	status := func(path string, code int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == path {
				w.Header().Set("Location", "https://elsewhere.example"+path)
				w.WriteHeader(code)
			}
			good.ServeHTTP(w, r)
		})
	}
	padding := strings.Repeat(" ", 512<<10)
	for name, c := range map[string]struct {
		handler http.Handler
		text    string
	}{
		"another issuer":          {document(discoveryPath, `{"issuer":"https://issuer.example/","jwks_uri":"https://issuer.example/keys"}`), `it calls itself "https://issuer.example/"`},
		"issuer of another case":  {document(discoveryPath, `{"issuer":"https://ISSUER.example","jwks_uri":"https://issuer.example/keys"}`), "it calls itself"},
		"no issuer":               {document(discoveryPath, `{"jwks_uri":"https://issuer.example/keys"}`), "it calls itself"},
		"keys in plain http":      {document(discoveryPath, `{"issuer":"https://issuer.example","jwks_uri":"http://issuer.example/keys"}`), "jwks_uri is not https"},
		"keys in a file":          {document(discoveryPath, `{"issuer":"https://issuer.example","jwks_uri":"file:///etc/keys"}`), "jwks_uri is no URL"},
		"no address of keys":      {document(discoveryPath, `{"issuer":"https://issuer.example"}`), "jwks_uri is no URL"},
		"discovery, no JSON":      {document(discoveryPath, `<html>`), "reading its openid-configuration"},
		"discovery, huge":         {document(discoveryPath, padding+"{}"), "larger than 512KiB"},
		"discovery, missing":      {status(discoveryPath, 404), "404 Not Found"},
		"discovery, redirected":   {status(discoveryPath, 302), "302 Found"},
		"keys, redirected":        {status(keysPath, 307), "307 Temporary Redirect"},
		"keys, broken":            {status(keysPath, 500), "500 Internal Server Error"},
		"keys, nothing":           {status(keysPath, 204), "204 No Content"},
		"keys, no JSON":           {document(keysPath, `keys`), "reading its keys"},
		"keys, no list":           {document(keysPath, `{}`), "no list of keys"},
		"keys, an object":         {document(keysPath, `{"keys":{}}`), "reading its keys"},
		"keys, huge":              {document(keysPath, padding+`{"keys":[]}`), "larger than 512KiB"},
		"keys, more than anybody": {document(keysPath, `{"keys":[{}`+strings.Repeat(",{}", 100)+`]}`), "more than 100"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			network := newNetwork(c.handler)
			issuers := verify.NewIssuers(&http.Client{Transport: network}, nil)
			defer issuers.Close()
			_, err := issuers.Payload(t.Context(), issuerURL, key.Token(nil))
			if _, rejected := errors.AsType[*bellhop.Rejection](err); err == nil || rejected || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v, want one with %q", err, c.text)
			}
			if network.asked[discoveryPath] > 1 || network.asked[keysPath] > 1 {
				t.Errorf("asked %v: a redirect was followed", network.asked)
			}
		})
	}
}

// Issuers such as Auth0 end in a slash, to the letter; their document is where it would be without.
func TestIssuerThatEndsInASlash(t *testing.T) {
	t.Parallel()
	key := bellhoptest.NewIssuerKey("1")
	issuer := bellhoptest.NewIssuer(key)
	issuers := verify.NewIssuers(bellhoptest.InMemory(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == discoveryPath {
			fmt.Fprint(w, `{"issuer":"https://issuer.example/","jwks_uri":"https://keys.example/keys"}`)
			return
		}
		issuer.ServeHTTP(w, r)
	})), nil)
	defer issuers.Close()
	if _, err := issuers.Payload(t.Context(), issuerURL+"/", key.Token(nil)); err != nil {
		t.Error(err)
	}
}

func TestIssuersForgetTheOldest(t *testing.T) {
	t.Parallel()
	key := bellhoptest.NewIssuerKey("1")
	token := key.Token(nil)
	var mu sync.Mutex
	asked := map[string]int{}
	issuer := bellhoptest.NewIssuer(key)
	issuers := verify.NewIssuers(bellhoptest.InMemory(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked[r.Host+r.URL.Path]++
		mu.Unlock()
		issuer.ServeHTTP(w, r)
	})), nil)
	defer issuers.Close()
	meet := func(n int) {
		t.Helper()
		if _, err := issuers.Payload(t.Context(), fmt.Sprintf("https://%d.example", n), token); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 1000 {
		meet(n)
	}
	meet(0)    // which is not the oldest any more
	meet(1000) // in the place of 1
	meet(0)
	meet(2)
	meet(1)
	for n, want := range map[int]int{0: 1, 1: 2, 2: 1, 1000: 1} {
		if got := asked[fmt.Sprintf("%d.example%s", n, keysPath)]; got != want {
			t.Errorf("issuer %d was asked %d times, want %d", n, got, want)
		}
	}
}

// A real server, an issuer with a path, and plain http.
func TestIssuersOverLoopback(t *testing.T) {
	t.Parallel()
	key := bellhoptest.NewIssuerKey("1")
	for _, start := range []func(http.Handler) *httptest.Server{httptest.NewTLSServer, httptest.NewServer} {
		server := start(bellhoptest.NewIssuer(key))
		issuers := verify.NewIssuers(server.Client(), nil)
		for _, path := range []string{"", "/realms/a"} {
			payload, err := issuers.Payload(t.Context(), server.URL+path, key.Token(map[string]any{"a": 1}))
			if err != nil || string(payload) != `{"a":1}` {
				t.Errorf("%s: payload %s, error %v", server.URL+path, payload, err)
			}
		}
		if _, err := issuers.Payload(t.Context(), server.URL+"/", key.Token(nil)); err == nil || !strings.Contains(err.Error(), "to the letter") {
			t.Errorf("an issuer that calls itself otherwise: %v", err)
		}
		issuers.Close()
		server.Close()
	}
}
