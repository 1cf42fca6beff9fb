package log_test

import (
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
	"github.com/bellhop-dev/bellhop/pkg/providers/log"
)

func TestProvider(t *testing.T) {
	t.Parallel()
	bellhoptest.RunProvider(t, log.Kind, bellhoptest.ProviderOptions{})
}
