package generic_test

import (
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
	"github.com/bellhop-dev/bellhop/pkg/providers/generic"
)

func TestProvider(t *testing.T) {
	t.Parallel()
	bellhoptest.RunProvider(t, generic.Kind, bellhoptest.ProviderOptions{})
}
