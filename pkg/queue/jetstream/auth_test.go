package jetstream

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
	"github.com/bellhop-dev/bellhop/pkg/queue/queuetest"
	"github.com/bellhop-dev/bellhop/pkg/queue/queuetest/natstest"
)

func write(t *testing.T, name string, content []byte) string {
	t.Helper()
	if !filepath.IsAbs(name) {
		name = filepath.Join(t.TempDir(), name)
	}
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := user.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	ca := bellhoptest.NewAuthority(t)
	pair := ca.Issue(t, "127.0.0.1")
	caFile, certFile, keyFile := write(t, "ca.crt", ca.PEM), write(t, "tls.crt", pair.Cert), write(t, "tls.key", pair.Key)
	password := func(o *server.Options) { o.Username, o.Password = "me", "hunter2" }
	token := func(o *server.Options) { o.Authorization = "hunter2" }
	mutual := func(o *server.Options) {
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair.TLS}, ClientCAs: ca.Pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12}
		o.TLSTimeout = 5
	}
	for name, c := range map[string]struct {
		server     func(*server.Options)
		user       string
		parameters string
		tls, bad   bool
	}{
		"password in the URL":   {server: password, user: "me:hunter2@"},
		"password in a file":    {server: password, parameters: "?user=me&password=" + write(t, "password", []byte("hunter2\n"))},
		"wrong password":        {server: password, user: "me:hunter3@", bad: true},
		"nothing":               {server: password, bad: true},
		"token in the URL":      {server: token, user: "hunter2@"},
		"token in a file":       {server: token, parameters: "?token=" + write(t, "token", []byte("hunter2"))},
		"wrong token":           {server: token, parameters: "?token=" + write(t, "token", []byte("hunter3")), bad: true},
		"nkey":                  {server: func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} }, parameters: "?nkey=" + write(t, "user.nk", seed)},
		"certificates":          {server: mutual, tls: true, parameters: "?ca=" + caFile + "&cert=" + certFile + "&key=" + keyFile},
		"no client certificate": {server: mutual, tls: true, parameters: "?ca=" + caFile, bad: true},
		"unknown authority":     {server: mutual, tls: true, parameters: "?cert=" + certFile + "&key=" + keyFile, bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := natstest.Serve(t, c.server).Addr().String()
			scheme := "nats://"
			if c.tls {
				scheme = "tls://"
			}
			o := Options{timing: brisk}
			if c.bad {
				o.start = 500 * time.Millisecond
			}
			q := open(t, scheme+c.user+address+c.parameters, o)
			err := q.Healthy()
			if (err != nil) != c.bad {
				t.Fatalf("healthy: %v", err)
			}
			if err != nil && strings.Contains(err.Error(), "hunter") {
				t.Fatalf("the error shows a secret: %v", err)
			}
		})
	}
}

// TestRotation changes the password on the server and in the file: the queue goes on without being opened anew.
func TestRotation(t *testing.T) {
	t.Parallel()
	file := write(t, "password", []byte("first"))
	dir := t.TempDir()
	o := server.Options{Username: "me", Password: "first"}
	with := func(to *server.Options) {
		to.Username, to.Password, to.StoreDir, to.Port = o.Username, o.Password, dir, max(o.Port, -1)
	}
	o.Port = -1
	s := natstest.Serve(t, with)
	q := open(t, "nats://"+s.Addr().String()+"?user=me&password="+file, Options{})
	o.Password, o.Port = "second", s.Addr().(*net.TCPAddr).Port
	s.Shutdown()
	s.WaitForShutdown()
	natstest.Serve(t, with)
	if err := becomes(t, q, false); err == nil {
		t.Fatal("connected with the old password")
	}
	write(t, file, []byte("second"))
	_ = becomes(t, q, true)
	if err := tryPut(q); err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil { // the server that it has now ends before it would be closed by itself
		t.Fatal(err)
	}
}

// TestWithoutPermission: where streams may not be made, they must be there, and the error says what was refused.
func TestWithoutPermission(t *testing.T) {
	t.Parallel()
	s := natstest.Serve(t, func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "admin", Password: "a"},
			{Username: "bellhop", Password: "b", Permissions: &server.Permissions{
				Publish: &server.SubjectPermission{Deny: []string{"$JS.API.STREAM.CREATE.>", "$JS.API.STREAM.UPDATE.>", "$JS.API.STREAM.DELETE.>"}},
			}},
		}
	})
	address := s.Addr().String()
	short := brisk
	short.patience, short.start = 500*time.Millisecond, 2*time.Second
	q := open(t, "nats://bellhop:b@"+address, Options{timing: short})
	if err := q.Healthy(); err == nil || !strings.Contains(err.Error(), "STREAM.CREATE.BELLHOP_EVENTS") {
		t.Fatalf("healthy: %v, want to be told of what is not permitted", err)
	}
	open(t, "nats://admin:a@"+address, Options{})
	_ = becomes(t, q, true) // now the streams are there
	e := queuetest.NewEvent("")
	if _, err := q.Put(t.Context(), &bellhop.Post{Items: []bellhop.Item{{Event: e, To: []bellhop.Target{{Provider: "p"}}}}}); err != nil {
		t.Fatal(err)
	}
	if got := take(t, q, "p").Delivery().Event; got != e.ID {
		t.Fatalf("took %s", got)
	}
}
