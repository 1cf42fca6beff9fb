package verify_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/verify"
)

func secrets(keys ...string) []bellhop.Secret {
	var out []bellhop.Secret
	for _, k := range keys {
		out = append(out, bellhop.NewSecret([]byte(k)))
	}
	return out
}

// wants checks the reason of a rejection, empty for none, and that the error tells nothing secret.
func wants(t testing.TB, err error, reason string, keys ...string) {
	t.Helper()
	rejection, ok := errors.AsType[*bellhop.Rejection](err)
	switch {
	case err == nil && reason == "":
		return
	case err == nil:
		t.Errorf("believed, want %s", reason)
		return
	case !ok:
		t.Errorf("error %v is no rejection", err)
		return
	case rejection.Reason != reason:
		t.Errorf("rejected with %v, want %q", err, reason)
	}
	for _, k := range keys {
		if len(k) > 3 && strings.Contains(err.Error(), k) {
			t.Errorf("the key is in the error")
		}
	}
}

type vector struct {
	Name, Scheme         string
	Hash                 verify.Hash
	Key, Body, Signature string
	ID, Timestamp        string
	Off                  int // seconds that the request came after its timestamp
	Reason               string
}

func TestVectors(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(data, &vectors); err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			if v.Scheme == "standard-webhooks" {
				s, err := verify.NewStandardWebhooks(secrets("b3RoZXI=", v.Key))
				if err != nil {
					t.Fatal(err)
				}
				sent, _ := strconv.ParseInt(v.Timestamp, 10, 64)
				if sent < 0 {
					sent = 0
				}
				r := &bellhop.Request{Header: http.Header{}, Body: []byte(v.Body), Time: time.Unix(sent+int64(v.Off), 999)}
				r.Header.Set("webhook-id", v.ID)
				r.Header.Set("webhook-timestamp", v.Timestamp)
				r.Header.Set("webhook-signature", v.Signature)
				wants(t, s.Verify(r), v.Reason, v.Key)
				return
			}
			m, err := verify.NewHMAC(v.Hash, secrets("another key", v.Key))
			if err != nil {
				t.Fatal(err)
			}
			check := map[string]func(string, string, []byte) error{"hex": m.Hex, "base64": m.Base64, "prefixed": m.Prefixed}[v.Scheme]
			for range 2 { // the second time with states that were used before
				wants(t, check("X-Signature", v.Signature, []byte(v.Body)), v.Reason, v.Key)
			}
		})
	}
}

func TestEmptyKeysAreRefused(t *testing.T) {
	t.Parallel()
	for _, keys := range [][]bellhop.Secret{nil, {{}}, secrets(""), secrets("\n"), secrets(" \t\r\n", "")} {
		if _, err := verify.NewHMAC(verify.SHA256, keys); err == nil {
			t.Error("NewHMAC takes an empty key")
		}
		if _, err := verify.NewStandardWebhooks(keys); err == nil {
			t.Error("NewStandardWebhooks takes an empty key")
		}
		for _, password := range []string{"", " ", "\n"} {
			r := &bellhop.Request{Header: http.Header{"X-Key": {password}, "Authorization": {"Bearer " + password}}}
			if verify.Token("X-Key", keys)(r) == nil || verify.Header("X-Key", keys)(r) == nil || verify.Bearer(keys)(r) == nil {
				t.Errorf("an empty key lets %q in", password)
			}
			basic := &http.Request{Header: http.Header{}}
			basic.SetBasicAuth("", password)
			if verify.Basic("", keys)(&bellhop.Request{Header: basic.Header}) == nil {
				t.Errorf("an empty key lets the password %q in", password)
			}
		}
	}
	for _, keys := range [][]bellhop.Secret{secrets("whsec_"), secrets("whsec_===="), secrets("whsec_not base64"), secrets("whpk_AAAA")} {
		if _, err := verify.NewStandardWebhooks(keys); err == nil {
			t.Error("NewStandardWebhooks takes what is no key")
		} else if strings.Contains(err.Error(), "not base64:") && strings.Contains(err.Error(), "whsec_not") {
			t.Error("the key is in the error")
		}
	}
	if _, err := verify.NewHMAC("md5", secrets("k")); err == nil {
		t.Error("NewHMAC takes md5")
	}
}

func TestHashText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]verify.Hash{"sha256": verify.SHA256, "SHA-512": verify.SHA512, "sha1": verify.SHA1, "md5": "", "": ""} {
		var h verify.Hash
		if err := h.UnmarshalText([]byte(text)); (err == nil) != (want != "") || h != want {
			t.Errorf("%q is %q, error %v; want %q", text, h, err, want)
		}
	}
}

func TestSignersVerify(t *testing.T) {
	t.Parallel()
	body := []byte(`{"a":1}`)
	for _, key := range []string{"k", "k\n", "k\r\n", "with space "} {
		for _, h := range []verify.Hash{verify.SHA1, verify.SHA256, verify.SHA512} {
			m, err := verify.NewHMAC(h, secrets(key))
			if err != nil {
				t.Fatal(err)
			}
			wants(t, m.Hex("X", verify.SignHex(h, secrets(key)[0], body), body), "")
			wants(t, m.Prefixed("X", verify.SignPrefixed(h, secrets(key)[0], body), body), "")
		}
	}
}

// TestStandardWebhooksReference holds both directions against the standard's own Go library.
func TestStandardWebhooksReference(t *testing.T) {
	t.Parallel()
	const key = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"
	reference, err := standardwebhooks.NewWebhook(key)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := verify.NewStandardWebhooks(secrets(key))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, body := range []string{"", "{}", `{"type":"contact.created"}`, "\x00\xff", strings.Repeat("x", 10_000)} {
		h := http.Header{}
		verify.SignStandardWebhooks(secrets(key)[0], h, now, []byte(body))
		if err := reference.Verify([]byte(body), h); err != nil {
			t.Errorf("the reference refuses our signature of %.20q: %v", body, err)
		}

		signature, err := reference.Sign("msg_2", now, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		h = http.Header{}
		h.Set("webhook-id", "msg_2")
		h.Set("webhook-timestamp", strconv.FormatInt(now.Unix(), 10))
		h.Set("webhook-signature", signature)
		wants(t, ours.Verify(&bellhop.Request{Header: h, Body: []byte(body), Time: now}), "")
	}
}

func TestSignStandardWebhooksWithoutAKey(t *testing.T) {
	t.Parallel()
	h := http.Header{}
	verify.SignStandardWebhooks(secrets("not base64")[0], h, time.Now(), nil)
	if len(h) != 0 {
		t.Errorf("headers %v were set with a key that is none", h)
	}
}

func FuzzHex(f *testing.F) {
	f.Add("8a2cfaa5d08c1d7fd548408a814c3e41d3f32b478f5bbb56c9d8890b5ef8d82c", []byte("x"))
	f.Add("8A2CFAA5D08C1D7FD548408A814C3E41D3F32B478F5BBB56C9D8890B5EF8D82C", []byte{})
	f.Add("sha256=zz", []byte{0})
	key := secrets("a key that the fuzzer does not know")
	m, err := verify.NewHMAC(verify.SHA256, key)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, signature string, body []byte) {
		right := strings.EqualFold(signature, verify.SignHex(verify.SHA256, key[0], body))
		if err := m.Hex("X-Signature", signature, body); (err == nil) != right {
			t.Errorf("%q: error %v, right is %v", signature, err, right)
		}
		_ = m.Prefixed("X-Signature", signature, body)
		_ = m.Base64("X-Signature", signature, body)
	})
}

func FuzzStandardWebhooks(f *testing.F) {
	f.Add("msg_1", "1700000000", "v1,JOUKwnOe8KqLYBB0eLUAZjKIIV9BgFEVYjuN4m7iz5o= v1,", []byte("{}"))
	f.Add("", "-1", " v1a,=", []byte{})
	s, err := verify.NewStandardWebhooks(secrets("whsec_YSBrZXkgdGhhdCB0aGUgZnV6emVyIGRvZXMgbm90IGtub3c="))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, id, stamp, signature string, body []byte) {
		r := &bellhop.Request{Header: http.Header{}, Body: body, Time: time.Unix(1_700_000_000, 0)}
		r.Header.Set("webhook-id", id)
		r.Header.Set("webhook-timestamp", stamp)
		r.Header.Set("webhook-signature", signature)
		if s.Verify(r) == nil {
			t.Error("believed")
		}
	})
}

// BenchmarkHex is the hot path: a GitHub push of 8 kB.
func BenchmarkHex(b *testing.B) {
	body := []byte(strings.Repeat("x", 8<<10))
	key := secrets("0123456789abcdef0123456789abcdef")
	m, err := verify.NewHMAC(verify.SHA256, key)
	if err != nil {
		b.Fatal(err)
	}
	signature := verify.SignPrefixed(verify.SHA256, key[0], body)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := m.Prefixed("X-Hub-Signature-256", signature, body); err != nil {
				b.Error(err)
			}
		}
	})
}
