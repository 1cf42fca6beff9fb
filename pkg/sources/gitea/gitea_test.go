package gitea

import (
	"net/http"
	"strings"
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
	"github.com/bellhop-dev/bellhop/pkg/verify"
)

func TestSource(t *testing.T) { t.Parallel(); bellhoptest.RunSource(t, Kind) }

func TestFixtures(t *testing.T) {
	bellhoptest.RunFixtures(t, Kind, "gitea/*", "")
	bellhoptest.RunFixtures(t, Kind, "gogs/*", "")
}

// Forgejo signs four times. One signature would do, but none may be wrong.
func TestAllSignaturesHold(t *testing.T) {
	t.Parallel()
	key, body := bellhop.NewSecret([]byte("s3cret")), []byte(`{"action":"created"}`)
	source, err := Kind.Build(bellhop.Setup{Keys: []bellhop.Secret{key}})
	if err != nil {
		t.Fatal(err)
	}
	r := &bellhop.Request{Header: http.Header{}, Body: body}
	for _, name := range signatures {
		r.Header.Set(name, verify.SignHex(verify.SHA256, key, body))
	}
	r.Header.Set(headerHub, verify.SignPrefixed(verify.SHA256, key, body))
	if err := source.Verify(t.Context(), r); err != nil {
		t.Errorf("all right: %v", err)
	}
	for name, values := range r.Header {
		forged := &bellhop.Request{Header: r.Header.Clone(), Body: body}
		for _, wrong := range []string{"", values[0][:len(values[0])-1] + "x", strings.Repeat("0", 64), "sha256=" + strings.Repeat("0", 64)} {
			forged.Header.Set(name, wrong)
			if err := source.Verify(t.Context(), forged); err == nil {
				t.Errorf("%s: %q is believed beside right ones", name, wrong)
			}
		}
	}
}

func FuzzVerify(f *testing.F) { bellhoptest.FuzzVerify(f, Kind) }

func FuzzParse(f *testing.F) { bellhoptest.FuzzParse(f, Kind) }
