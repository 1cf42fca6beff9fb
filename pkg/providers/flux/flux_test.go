package flux_test

import (
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
	"github.com/bellhop-dev/bellhop/pkg/providers/flux"
)

func TestProvider(t *testing.T) {
	t.Parallel()
	bellhoptest.RunProvider(t, flux.Kind, bellhoptest.ProviderOptions{
		Accepts: func(status int) bool { return status == 200 || status == 201 || status == 202 || status == 204 },
		Refuses: true,
	})
}
