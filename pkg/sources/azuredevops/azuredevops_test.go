package azuredevops

import (
	"encoding/base64"
	"net/http"
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
)

func TestSource(t *testing.T) { t.Parallel(); bellhoptest.RunSource(t, Kind) }

func TestFixtures(t *testing.T) { bellhoptest.RunFixtures(t, Kind, "azuredevops/*", "") }

func FuzzVerify(f *testing.F) { bellhoptest.FuzzVerify(f, Kind) }

func FuzzParse(f *testing.F) { bellhoptest.FuzzParse(f, Kind) }

// The user name is whatever the form was given; the password is all that counts.
func TestAnyUser(t *testing.T) {
	t.Parallel()
	key := bellhop.NewSecret([]byte("new key\n"))
	source, err := Kind.Build(bellhop.Setup{Keys: []bellhop.Secret{key, bellhop.NewSecret([]byte("old key"))}})
	if err != nil {
		t.Fatal(err)
	}
	for credentials, believed := range map[string]bool{
		":new key": true, "azure:new key": true, "Ann Droid:old key": true,
		"azure:": false, "new key:": false, "azure:new keys": false, "azure:azure:new key": false, "new key": false,
	} {
		r := &bellhop.Request{Header: http.Header{}}
		r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(credentials)))
		if err := source.Verify(t.Context(), r); (err == nil) != believed {
			t.Errorf("%q: error %v", credentials, err)
		}
	}
}
