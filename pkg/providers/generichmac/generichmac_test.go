package generichmac_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
	"github.com/bellhop-dev/bellhop/pkg/providers/generichmac"
	source "github.com/bellhop-dev/bellhop/pkg/sources/generichmac"
)

func TestProvider(t *testing.T) {
	t.Parallel()
	bellhoptest.RunProvider(t, generichmac.Kind, bellhoptest.ProviderOptions{})
}

// TestVerified lets Bellhop's own receiver of such requests judge them, byte for byte as they arrive.
func TestVerified(t *testing.T) {
	t.Parallel()
	const key = "s3cret-key"
	for _, format := range []string{"flux", "cloudevents"} {
		for _, tc := range []struct {
			name, token string
			reason      string
		}{
			{"right key", key, ""},
			{"wrong key", "another-key", bellhop.ReasonSignatureMismatch},
		} {
			verifier, err := source.Kind.Build(bellhop.Setup{Keys: []bellhop.Secret{bellhop.NewSecret([]byte(key))}})
			if err != nil {
				t.Fatal(err)
			}
			var verified error
			var events []bellhop.Event
			fake := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				request := &bellhop.Request{Header: r.Header, Body: body}
				if verified = verifier.Verify(r.Context(), request); verified == nil {
					events, err = verifier.Parse(request)
				}
				if err != nil {
					t.Error(err)
				}
			}))
			provider, err := generichmac.Kind.Build(bellhop.Setup{Decode: func(into any) error {
				s := into.(*generichmac.Settings)
				s.Address = bellhop.NewSecret([]byte(fake.URL))
				s.Token = bellhop.NewSecret([]byte(tc.token))
				return s.Format.UnmarshalText([]byte(format))
			}})
			if err != nil {
				t.Fatal(err)
			}
			e := &bellhop.Event{ID: "01JZ0000000000000000000000", Time: time.Unix(1767323045, 0), Endpoint: "app", Source: "github",
				Kind: bellhop.KindGitPush, Title: "<b> & é 💥", Message: "line\nbreak \u2028 \xff", Raw: []byte(`{"a": "\u00e9"}`)}
			if err := provider.Send(t.Context(), e); err != nil {
				t.Fatal(err)
			}
			fake.Close()
			var rejection *bellhop.Rejection
			switch {
			case tc.reason == "" && (verified != nil || len(events) != 1):
				t.Errorf("%s, %s: %v, %d events", format, tc.name, verified, len(events))
			case tc.reason != "" && (!errors.As(verified, &rejection) || rejection.Reason != tc.reason):
				t.Errorf("%s, %s: %v, want %s", format, tc.name, verified, tc.reason)
			}
		}
	}
}
