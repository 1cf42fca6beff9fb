package azureeventhub_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf16"

	"go.uber.org/goleak"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/azureeventhub"
)

func TestMain(m *testing.M) {
	azureeventhub.Retries.RetryDelay = time.Millisecond
	goleak.VerifyTestMain(m)
}

// TestProvider sends each case to the namespace that its option "namespace" names, through a proxy and a private CA,
// and compares what arrived with its file "sent".
func TestProvider(t *testing.T) {
	t.Parallel()
	bellhoptest.RunProvider(t, azureeventhub.Kind, bellhoptest.ProviderOptions{
		Setup: func(t *testing.T, c *bellhoptest.Case, setup *bellhop.Setup) {
			t.Helper()
			host := c.Option("namespace")
			if host == "" {
				return
			}
			n := newNamespace(t, host)
			n.hub = cmp.Or(c.Option("hub"), n.hub)
			n.keyName, n.key = cmp.Or(c.Option("policy"), n.keyName), cmp.Or(c.Option("key"), n.key)
			n.jwt = func(token string) bool { return token == c.Option("jwt") }
			setup.Client = newClient(t, httpsend.Options{Proxy: n.proxy, CA: n.ca.PEM})
			t.Cleanup(func() { c.Golden(t, "sent", n.sent()) })
		},
	})
}

// sent is what arrived, for a person.
func (n *namespace) sent() []byte {
	var b bytes.Buffer
	for _, m := range n.all() {
		fmt.Fprintf(&b, "partition key: %s\nmessage id: %v\ncontent type: %v\n", m.key, m.property(propertyMessageID), m.property(propertyContentType))
		for _, p := range sorted(m.application) {
			fmt.Fprintf(&b, "%v: %v\n", p.key, p.value)
		}
		b.WriteByte('\n')
		if json.Indent(&b, m.body, "", "  ") != nil {
			b.WriteString("no JSON: " + string(m.body))
		}
	}
	return b.Bytes()
}

func sorted(m mapping) mapping {
	return slices.SortedFunc(slices.Values(m), func(a, b pair) int { return cmp.Compare(fmt.Sprint(a.key), fmt.Sprint(b.key)) })
}

// settings are a provider's, and how it goes out.
type settings struct {
	channel, address, token string
	client                  *http.Client
}

// connection is the connection string of the namespace.
func (n *namespace) connection() string {
	return "Endpoint=sb://" + n.host + "/;SharedAccessKeyName=" + n.keyName + ";SharedAccessKey=" + n.key + ";EntityPath=" + n.hub
}

// direct is a client that trusts the namespace.
func (n *namespace) direct(t *testing.T) *http.Client {
	t.Helper()
	return newClient(t, httpsend.Options{CA: n.ca.PEM})
}

func build(t *testing.T, s settings) bellhop.Provider {
	t.Helper()
	p, err := azureeventhub.Kind.Build(bellhop.Setup{Name: "hub", Client: s.client, Decode: func(into any) error {
		*into.(*azureeventhub.Settings) = azureeventhub.Settings{
			Channel: s.channel, Address: bellhop.NewSecret([]byte(s.address)), Token: bellhop.NewSecret([]byte(s.token)),
		}
		return nil
	}})
	if err := bellhop.AsProblems(err).Err(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.(io.Closer).Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return p
}

// push is an event like any other.
func push() *bellhop.Event {
	return &bellhop.Event{
		ID: "01JZ0000000000000000000000", Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Endpoint: "app-repo", Source: "github",
		Kind: bellhop.KindGitPush, Title: "o/r: 1 commit to main", Repo: bellhop.Repo{Name: "o/r"}, Branch: "main",
	}
}

// token is a JWT that nobody signed.
func token(expires time.Time) string {
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	return part(`{"alg":"RS256"}`) + "." + part(`{"aud":"https://eventhubs.azure.net","exp":`+strconv.FormatInt(expires.Unix(), 10)+`}`) + "." + part("signature of a token")
}

func class(err error) string {
	d, paused := bellhop.RetryDelay(err)
	switch {
	case err == nil:
		return "accepted"
	case paused:
		return "paused " + d.String()
	case bellhop.IsPermanent(err):
		return "permanent"
	case bellhop.IsStopping(err):
		return "stopping"
	}
	return "retried"
}

// hides fails the test if an error shows what it must not.
func hides(t *testing.T, err error, secrets ...string) {
	t.Helper()
	for e := err; e != nil; e = errors.Unwrap(e) {
		for _, text := range []string{e.Error(), fmt.Sprintf("%+v", e), fmt.Sprintf("%#v", e)} {
			for _, s := range append(secrets, key, "p@ss") {
				if strings.Contains(text, s) {
					t.Errorf("%q shows a secret", text)
				}
			}
			if strings.Contains(text, "sig=") && !strings.Contains(text, "sig=<secret>") {
				t.Errorf("%q shows a signature", text)
			}
		}
	}
}

func TestOneConnection(t *testing.T) {
	t.Parallel()
	n := newNamespace(t, "")
	p := build(t, settings{address: n.connection() + "\n", client: n.direct(t)})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				ctx, cancel := context.WithCancel(t.Context())
				if err := p.Send(ctx, push()); err != nil {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if connections, puts := n.counts(); connections != 1 || puts != 1 {
		t.Errorf("%d connections, %d tokens, want one of each", connections, puts)
	}
	if got := len(n.all()); got != 400 {
		t.Errorf("%d messages arrived, want 400", got)
	}
}

// The ways in: who trusts whom, and through what.
func TestWays(t *testing.T) {
	t.Parallel()
	t.Run("token", func(t *testing.T) {
		t.Parallel()
		n := newNamespace(t, "")
		jwt := token(time.Now().Add(time.Hour))
		n.jwt = func(got string) bool { return got == jwt }
		p := build(t, settings{channel: n.address, address: "flux\n", token: jwt + "\n", client: n.direct(t)})
		if err := p.Send(t.Context(), push()); err != nil || len(n.all()) != 1 {
			t.Errorf("%d arrived, %v", len(n.all()), err)
		}
	})
	t.Run("signature", func(t *testing.T) {
		t.Parallel()
		n := newNamespace(t, "")
		p := build(t, settings{channel: "flux", client: n.direct(t), address: "Endpoint=sb://" + n.host + "/;SharedAccessSignature=" +
			n.sign("amqps://"+n.host+"/flux", time.Now().Add(time.Hour))})
		if err := p.Send(t.Context(), push()); err != nil || len(n.all()) != 1 {
			t.Errorf("%d arrived, %v", len(n.all()), err)
		}
	})
	t.Run("proxy", func(t *testing.T) {
		t.Parallel()
		n := newNamespace(t, "")
		p := build(t, settings{address: n.connection(), client: newClient(t, httpsend.Options{Proxy: n.proxy, CA: n.ca.PEM})})
		for range 2 {
			// The connection outlives the delivery that makes it.
			ctx, cancel := context.WithCancel(t.Context())
			if err := p.Send(ctx, push()); err != nil {
				t.Fatal(err)
			}
			cancel()
		}
		if connections, _ := n.counts(); n.tunnels.Load() != 1 || connections != 1 {
			t.Errorf("%d connections, %d of them through the proxy, want one", connections, n.tunnels.Load())
		}
	})
	t.Run("proxy that refuses", func(t *testing.T) {
		t.Parallel()
		n := newNamespace(t, "")
		n.proxy.User = nil
		err := build(t, settings{address: n.connection(), client: newClient(t, httpsend.Options{Proxy: n.proxy, CA: n.ca.PEM})}).Send(t.Context(), push())
		if got := class(err); got != "retried" || !strings.Contains(err.Error(), "Proxy Authentication Required") {
			t.Errorf("%s (%v), want retried, with the proxy's words", got, err)
		}
	})
	t.Run("client certificate", func(t *testing.T) {
		t.Parallel()
		n := newNamespace(t, "")
		n.tls.ClientAuth, n.tls.ClientCAs = tls.RequireAndVerifyClientCert, n.ca.Pool
		pair := n.ca.Issue(t)
		p := build(t, settings{address: n.connection(), client: newClient(t, httpsend.Options{
			CA: n.ca.PEM, Cert: pair.Cert, Key: bellhop.NewSecret(pair.Key),
		})})
		if err := p.Send(t.Context(), push()); err != nil {
			t.Error(err)
		}
		err := build(t, settings{address: n.connection(), client: n.direct(t)}).Send(t.Context(), push())
		if got := class(err); got != "retried" || !strings.Contains(err.Error(), "client certificate") {
			t.Errorf("without one: %s (%v), want retried, naming the client certificate", got, err)
		}
	})
	t.Run("unknown CA", func(t *testing.T) {
		t.Parallel()
		n := newNamespace(t, "")
		err := build(t, settings{address: n.connection(), client: newClient(t, httpsend.Options{})}).Send(t.Context(), push())
		if got := class(err); got != "retried" || !strings.Contains(err.Error(), "ca.crt") {
			t.Errorf("%s (%v), want retried, naming ca.crt", got, err)
		}
	})
	t.Run("connection refused", func(t *testing.T) {
		t.Parallel()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		n := newNamespace(t, l.Addr().String())
		err = build(t, settings{address: n.connection(), client: n.direct(t)}).Send(t.Context(), push())
		if got := class(err); got != "retried" || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("%s (%v), want retried", got, err)
		}
	})
	t.Run("one try to connect", func(t *testing.T) {
		t.Parallel()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		tries := make(chan int)
		go func() {
			n := 0
			for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
				n++
				conn.Close()
			}
			tries <- n
		}()
		n := newNamespace(t, l.Addr().String())
		err = build(t, settings{address: n.connection(), client: n.direct(t)}).Send(t.Context(), push())
		l.Close()
		if got, n := class(err), <-tries; got != "retried" || n != 1 {
			t.Errorf("%s (%v) after %d tries, want one: when to try again is not the SDK's to say", got, err, n)
		}
	})
	t.Run("metadata address", func(t *testing.T) {
		t.Parallel()
		n := newNamespace(t, "169.254.169.254")
		err := build(t, settings{address: n.connection(), client: n.direct(t)}).Send(t.Context(), push())
		if got := class(err); got != "permanent" || !strings.Contains(err.Error(), "link-local") {
			t.Errorf("%s (%v), want permanent", got, err)
		}
	})
	t.Run("emulator", func(t *testing.T) {
		t.Parallel()
		n := newNamespace(t, "")
		n.host, n.scheme = n.listen(t, func(l net.Listener) net.Listener { return l }), "amqp"
		p := build(t, settings{address: n.connection() + ";UseDevelopmentEmulator=true", client: newClient(t, httpsend.Options{})})
		if err := p.Send(t.Context(), push()); err != nil || len(n.all()) != 1 {
			t.Errorf("%d arrived, %v", len(n.all()), err)
		}
	})
	t.Run("somebody else's client", func(t *testing.T) {
		t.Parallel()
		n := newNamespace(t, "")
		err := build(t, settings{address: n.connection(), client: new(http.Client)}).Send(t.Context(), push())
		if got := class(err); got != "retried" || !strings.Contains(err.Error(), "httpsend.NewClient") {
			t.Errorf("%s (%v), want retried", got, err)
		}
	})
}

// Every answer of the hub, and what it means.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		outcome outcome
		token   bool
		want    string
		says    string
	}{
		{name: "accepted", want: "accepted"},
		{name: "busy", outcome: rejected("com.microsoft:server-busy", "The server is busy"), want: "paused 10s", says: "server-busy: The server is busy"},
		{name: "quota", outcome: rejected("amqp:resource-limit-exceeded", "too many"), want: "paused 30s", says: "too many"},
		{name: "too large", outcome: rejected("amqp:link:message-size-exceeded", "262145 > 262144"), want: "permanent", says: "larger than"},
		{name: "not allowed", outcome: rejected("amqp:not-allowed", "no"), want: "permanent"},
		{name: "malformed", outcome: rejected("amqp:decode-error", "no"), want: "permanent"},
		{name: "argument", outcome: rejected("com.microsoft:argument-error", "no"), want: "permanent"},
		{name: "unauthorized key", outcome: rejected("amqp:unauthorized-access", "no claim"), want: "permanent", says: "policy that may send"},
		{name: "unauthorized token", outcome: rejected("amqp:unauthorized-access", "no claim"), token: true, want: "retried", says: "Azure Event Hubs Data Sender"},
		{name: "deleted", outcome: detached("amqp:not-found", "The messaging entity could not be found."), want: "permanent", says: "no such event hub"},
		{name: "disabled", outcome: rejected("com.microsoft:entity-disabled", "off"), want: "retried", says: "enable"},
		{name: "internal error", outcome: rejected("amqp:internal-error", "oh\r\nno"), want: "retried", says: "oh no"},
		{name: "unknown condition", outcome: rejected("com.microsoft:brand-new", "hm"), want: "retried", says: "brand-new: hm"},
		{name: "timeout", outcome: rejected("com.microsoft:timeout", "slow"), want: "retried", says: "slow"},
		{name: "detached", outcome: detached("amqp:link:detach-forced", "moved"), want: "retried", says: "detach-forced: moved"},
		{name: "detached while busy", outcome: detached("com.microsoft:server-busy", "later"), want: "paused 10s", says: "later"},
		{name: "closed", outcome: closed("amqp:connection:forced", "upgrade"), want: "retried", says: "connection:forced: upgrade"},
		{name: "hung up", outcome: hangUp, want: "retried", says: "connection was lost"},
		{name: "echo", outcome: rejected("amqp:internal-error", "key "+key+" SharedAccessSignature sr=x&sig=abc%2Fdef&se=1"), want: "retried", says: "sig=<secret>"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := newNamespace(t, "")
			n.answer = func(int) outcome { return tt.outcome }
			s := settings{address: n.connection(), client: n.direct(t)}
			if tt.token {
				s.channel, s.address, s.token = n.host, n.hub, token(time.Now().Add(time.Hour))
				n.jwt = func(string) bool { return true }
			}
			err := build(t, s).Send(t.Context(), push())
			if got := class(err); got != tt.want {
				t.Fatalf("%s (%v), want %s", got, err, tt.want)
			}
			if err != nil {
				if !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "the event hub flux of "+n.host) || strings.ContainsAny(err.Error(), "\r\n") {
					t.Errorf("the error is %q", err)
				}
				hides(t, err, cmp.Or(s.token, key))
			}
		})
	}
}

// What the node that takes tokens answers.
func TestCredentials(t *testing.T) {
	t.Parallel()
	status := func(code int32, text string) func(*namespace, *settings) {
		return func(n *namespace, _ *settings) {
			n.putToken = func() (int32, string) { return code, text }
		}
	}
	valid := token(time.Now().Add(time.Hour))
	for _, tt := range []struct {
		name string
		with func(n *namespace, s *settings)
		want string
		says string
	}{
		{"wrong key", func(n *namespace, _ *settings) { n.key = "another" }, "permanent", "InvalidSignature"},
		{"wrong policy", func(n *namespace, _ *settings) { n.keyName = "another" }, "permanent", "InvalidSignature"},
		{"no such hub", func(n *namespace, _ *settings) { n.hub = "another" }, "permanent", "no such event hub"},
		{"no such hub, said early", status(404, "not here"), "permanent", "no such event hub"},
		{"forbidden", status(403, "public access is off"), "permanent", "public access is off"},
		{"busy", status(503, "later"), "paused 10s", "later"},
		{"broken", status(500, "oops"), "retried", "oops"},
		{"refused token", func(n *namespace, s *settings) {
			s.channel, s.address, s.token = n.host, n.hub, valid
		}, "retried", "InvalidIssuer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := newNamespace(t, "")
			s := settings{address: n.connection(), client: n.direct(t)}
			tt.with(n, &s)
			err := build(t, s).Send(t.Context(), push())
			if got := class(err); got != tt.want || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s (%v), want %s, saying %q", got, err, tt.want, tt.says)
			}
			hides(t, err, valid)
			if len(n.all()) > 0 {
				t.Error("a message arrived")
			}
		})
	}
}

// What is over is not shown to anybody: the Secret may be renewed any moment, and a retry heals it then.
func TestExpired(t *testing.T) {
	t.Parallel()
	n := newNamespace(t, "")
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	jwt := token(at)
	for what, s := range map[string]settings{
		"the token":                   {channel: n.host, address: "flux", token: jwt},
		"the shared access signature": {channel: "flux", address: "Endpoint=sb://" + n.host + "/;SharedAccessSignature=" + n.sign("amqps://"+n.host+"/flux", at)},
	} {
		s.client = n.direct(t)
		err := build(t, s).Send(t.Context(), push())
		if got := class(err); got != "retried" || !strings.Contains(err.Error(), what+" expired at 2026-01-02T03:04:05Z") {
			t.Errorf("%s: %s (%v), want retried, saying when", what, got, err)
		}
		hides(t, err, jwt)
	}
	if connections, _ := n.counts(); connections > 0 {
		t.Errorf("%d connections were made, want none", connections)
	}
}

// A connection that is lost between two deliveries costs neither.
func TestRecovers(t *testing.T) {
	t.Parallel()
	then := func(next outcome) func(int) outcome {
		return func(n int) outcome {
			if n != 1 {
				return accepted
			}
			return outcome{do: func(c *conn, l *link, id uint32) error {
				if err := c.dispose(l, id, described{0x24, list{}}); err != nil {
					return err
				}
				return next.do(c, l, id)
			}}
		}
	}
	for name, answer := range map[string]func(int) outcome{
		"hung up":  then(hangUp),
		"detached": then(detached("amqp:link:detach-forced", "The link was closed because it was idle for ten minutes")),
		"closed":   then(closed("amqp:connection:forced", "The connection was closed because it had no links for five minutes")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNamespace(t, "")
			n.answer = answer
			p := build(t, settings{address: n.connection(), client: n.direct(t)})
			for range 3 {
				if err := p.Send(t.Context(), push()); err != nil {
					t.Fatal(err)
				}
			}
			if got := len(n.all()); got != 3 {
				t.Errorf("%d messages arrived, want 3", got)
			}
		})
	}
}

// A server that takes the connection and says nothing holds nobody who is called away.
func TestInterruptedWhileConnecting(t *testing.T) {
	t.Parallel()
	n := newNamespace(t, "")
	for name, wrap := range map[string]func(net.Listener) net.Listener{
		"before TLS": func(l net.Listener) net.Listener { return l },
		"after TLS":  func(l net.Listener) net.Listener { return tls.NewListener(l, n.tls) },
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		n.host = l.Addr().String()
		p := build(t, settings{address: n.connection(), client: n.direct(t)})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Send(ctx, push()) }()
		conn, err := wrap(l).Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if secure, ok := conn.(*tls.Conn); ok {
			if _, err := io.ReadFull(secure, make([]byte, 8)); err != nil {
				t.Error(err)
			}
		}
		cancel()
		if err := <-done; class(err) != "stopping" {
			t.Errorf("%s: %s (%v), want stopping", name, class(err), err)
		}
	}
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	n := newNamespace(t, "")
	n.arrived = make(chan received, 10)
	n.answer = func(int) outcome { return silent }
	p := build(t, settings{address: n.connection(), client: n.direct(t)})
	send := func(ctx context.Context) <-chan error {
		done := make(chan error, 1)
		go func() { done <- p.Send(ctx, push()) }()
		<-n.arrived
		return done
	}

	ctx, cancel := context.WithCancel(t.Context())
	done := send(ctx)
	cancel()
	if err := <-done; class(err) != "stopping" {
		t.Errorf("cancelled: %s (%v), want stopping", class(err), err)
	}

	ctx, cancel = context.WithTimeoutCause(t.Context(), time.Millisecond, nil)
	defer cancel()
	if err := p.Send(ctx, push()); class(err) != "retried" {
		t.Errorf("too slow: %s (%v), want retried", class(err), err)
	}

	// Whoever is on the way while the provider goes out of use is handed back.
	done = send(t.Context())
	if err := p.(io.Closer).Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; class(err) != "stopping" {
		t.Errorf("closed on the way: %s (%v), want stopping", class(err), err)
	}
	if err := p.Send(t.Context(), push()); class(err) != "stopping" {
		t.Errorf("after the end: %s (%v), want stopping", class(err), err)
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	n := newNamespace(t, "")
	n.maxSize = 20_000
	p := build(t, settings{address: n.connection(), client: n.direct(t)})
	send := func(size int) error {
		e := push()
		e.Message = strings.Repeat("x", size)
		return p.Send(t.Context(), e)
	}
	fits, over := 0, 2*int(n.maxSize)
	for over-fits > 1 {
		if middle := (fits + over) / 2; send(middle) == nil {
			fits = middle
		} else {
			over = middle
		}
	}
	if slack := int(n.maxSize) - fits; slack > 2000 {
		t.Errorf("a message of %d is refused already, %d short of the limit", over, slack)
	}
	for _, size := range []int{fits - 1, fits} {
		if err := send(size); err != nil {
			t.Errorf("%d: %v", size, err)
		}
	}
	for _, size := range []int{over, over * 10} {
		if err := send(size); class(err) != "permanent" || !strings.Contains(err.Error(), "too large") {
			t.Errorf("%d: %s (%v), want permanent", size, class(err), err)
		}
	}
}

// No event breaks the protocol, which the broker would tell.
func TestAnyEvent(t *testing.T) {
	t.Parallel()
	n := newNamespace(t, "")
	p := build(t, settings{address: n.connection(), client: n.direct(t)})
	for _, text := range []string{
		"", "x", "<script>alert(1)</script>", "quote \" and \\", "line\nbreak\r\n\tand tab", "NUL \x00 and \x1b[31m", "\xff\xfe invalid \xc3",
		"👩‍👩‍👧‍👦 family", "\u2028\u2029\ufeff", strings.Repeat("💥", 1000), strings.Repeat("é", 10_000),
	} {
		for i, e := range []*bellhop.Event{
			{ID: text, Endpoint: text, Source: text, Kind: bellhop.EventKind(text)},
			{ID: text, Repo: bellhop.Repo{Name: text}, Message: text, Raw: []byte(text)},
			{Image: bellhop.Image{Name: text}, Title: text, Metadata: map[string]string{text: text}},
			{Kind: bellhop.KindFlux, InvolvedObject: bellhop.ObjectReference{Kind: text, Namespace: text, Name: text}},
		} {
			if err := p.Send(t.Context(), e); err != nil {
				t.Fatalf("event %d of %.20q: %v", i, text, err)
			}
		}
	}
	for _, m := range n.all() {
		if !json.Valid(m.body) {
			t.Errorf("broken JSON: %.200q", m.body)
		}
		if units := len(utf16.Encode([]rune(m.key))); units > 128 {
			t.Errorf("a partition key of %d characters", units)
		}
	}
}
