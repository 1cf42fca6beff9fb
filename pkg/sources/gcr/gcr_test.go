package gcr

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
)

func TestSource(t *testing.T) { t.Parallel(); bellhoptest.RunSource(t, Kind) }

func TestFixtures(t *testing.T) { bellhoptest.RunFixtures(t, Kind, "gcr/*", "") }

type outOfReach struct{}

var errOutOfReach = errors.New("no route to host")

func (outOfReach) Payload(context.Context, string, string) ([]byte, error) { return nil, errOutOfReach }

// Google's being out of reach is not the sender's fault: no rejection, so that Pub/Sub is told to come back.
func TestIssuerOutOfReach(t *testing.T) {
	t.Parallel()
	source, err := Kind.Build(bellhop.Setup{Issuers: outOfReach{}, Decode: func(into any) error {
		into.(*Settings).GCR = &Token{Audience: "us", Email: "push@example.com"}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	token := bellhoptest.NewIssuerKey("1").Token(map[string]any{"iss": "https://accounts.google.com", "aud": "us", "exp": now.Unix() + 60})
	r := &bellhop.Request{Header: http.Header{"Authorization": {"Bearer " + token}}, Time: now}
	err = source.Verify(t.Context(), r)
	if _, rejected := errors.AsType[*bellhop.Rejection](err); rejected || !errors.Is(err, errOutOfReach) {
		t.Errorf("got %v", err)
	}
}

func FuzzVerify(f *testing.F) { bellhoptest.FuzzVerify(f, Kind) }

func FuzzParse(f *testing.F) { bellhoptest.FuzzParse(f, Kind) }
