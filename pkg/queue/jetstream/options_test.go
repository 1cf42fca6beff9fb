package jetstream

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

func TestParseURLRefuses(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"nats://":                               "is no server",
		"nats://a,,b":                           "is no server",
		"nats://a:b@c:99999":                    "",
		"nats://user:hunter2@n/bellhop":         "?prefix=bellhop",
		"nats://user:hunter2@n?prefx=a":         "write prefix",
		"nats://user:hunter2@n?zzzzzz=a":        "prefix, replicas",
		"nats://user:hunter2@n?prefix=A":        "lower-case",
		"nats://user:hunter2@n?prefix=a.b":      "lower-case",
		"nats://user:hunter2@n?replicas=9":      "1 to 5",
		"nats://user:hunter2@n?maxBytes=much":   "10GiB",
		"nats://user:hunter2@n?maxBytes=0":      "10GiB",
		"nats://user:hunter2@n?duplicates=1":    "24h",
		"nats://user:hunter2@n?creds=here":      "absolute",
		"nats://n?cert=/a":                      "belong together",
		"nats://n?password=/a":                  "needs a user",
		"nats://user:hunter2@n?a=%zz":           "cannot be read",
		"nats://user:hunter2@n?token=hunter2":   "absolute",
		"nats://user:hunter2@n?password=hunter": "absolute",
	} {
		u, err := url.Parse(raw)
		if err == nil {
			_, err = parseURL(u)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", raw, err, want)
			continue
		}
		if want != "" && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows the password: %v", raw, err)
		}
	}
}

func TestParseURL(t *testing.T) {
	t.Parallel()
	s, err := parseURL(mustParse(t, "tls://me:secret@one:4111,two:4333?prefix=team-a&replicas=3&maxBytes=10GiB&duplicates=1h&ca=/etc/ca.crt&cert=/c&key=/k"))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"tls://one:4111", "tls://two:4333"}; !slices.Equal(s.servers, want) {
		t.Errorf("servers %v, want %v", s.servers, want)
	}
	if !s.secure || s.user != "me" || s.password != "secret" || s.prefix != "team-a" || s.replicas != 3 ||
		s.maxBytes != bellhop.Size(10<<30) || s.duplicates != time.Hour || s.files["ca"] != "/etc/ca.crt" {
		t.Errorf("settings %+v", s)
	}
	if s.prefix.events() != "TEAM-A_EVENTS" {
		t.Errorf("stream %s", s.prefix.events())
	}
	s, err = parseURL(mustParse(t, "nats://s3cr3t@one"))
	if err != nil || s.token != "s3cr3t" || s.user != "" || s.secure || s.prefix != DefaultPrefix || s.duplicates != DefaultDuplicates {
		t.Errorf("settings %+v, %v", s, err)
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	seen := make(map[string]string)
	for _, name := range []string{
		"p", "P", "p.q", "p=2Eq", "p q", "*", ">", "p*", "é", "=", "==", "a=", "~", "\xff", "-_0", strings.Repeat("p.", 200), strings.Repeat("p.", 201),
	} {
		got := token(name)
		if strings.ContainsAny(got, ".*> \t\r\n") {
			t.Errorf("token %q of %q", got, name)
		}
		if back, ok := untoken(got); !ok || back != name {
			t.Errorf("%q came back from %q as %q, %t", name, got, back, ok)
		}
		for _, of := range []string{"t" + got, "c" + consumer(name)} {
			if other, ok := seen[of]; ok {
				t.Errorf("%q and %q are both %q", name, other, of)
			}
			seen[of] = name
		}
		if c := consumer(name); len(c) > maxConsumer {
			t.Errorf("the consumer of %q has a name of %d bytes", name, len(c))
		}
	}
	for _, bad := range []string{"", "=", "=2", "=zz", "a=4"} {
		if name, ok := untoken(bad); ok {
			t.Errorf("%q is the token of %q", bad, name)
		}
	}
}

func FuzzToken(f *testing.F) {
	f.Add("p.q")
	f.Fuzz(func(t *testing.T, name string) {
		if back, ok := untoken(token(name)); name != "" && (!ok || back != name) {
			t.Fatalf("%q came back as %q", name, back)
		}
		_, _ = untoken(name)
	})
}

func FuzzDecode(f *testing.F) {
	post, _, err := encodePost(&bellhop.Post{Key: "k", Window: 1, Items: []bellhop.Item{{Event: &bellhop.Event{ID: "e", Raw: []byte("body")}}}}, 1, 1<<20)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(post)
	f.Add((&pointer{home: "q", post: "e", again: true}).encode("p", "f"))
	f.Add([]byte{isDelivered, 1})
	f.Fuzz(func(_ *testing.T, message []byte) {
		if p, err := decodePost(message); err == nil {
			_ = p.bring(message) // what does not fit is an error
		}
		_, _ = decodePointer("p", "e", message)
		_, _, _ = decodeDone(message)
		_, _ = decodeRetry(message)
		_, _ = readPlace(string(message))
	})
}
