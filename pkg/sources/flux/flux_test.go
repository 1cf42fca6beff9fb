package flux

import (
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
)

func TestSource(t *testing.T) { t.Parallel(); bellhoptest.RunSource(t, Kind) }

func TestFixtures(t *testing.T) { bellhoptest.RunFixtures(t, Kind, "flux/*", "") }

func FuzzParse(f *testing.F) { bellhoptest.FuzzParse(f, Kind) }
