package generichmac

import (
	"strings"
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// TestSign holds a signature that notification-controller makes.
func TestSign(t *testing.T) {
	t.Parallel()
	const want = "sha256=169d7e505376f878e245391f706b07a7c9de0b2d84cfc526bb64da7aaee88324"
	if got, err := sign(bellhop.NewSecret([]byte("s3cret-key")), strings.NewReader(`{"a":1}`)); got != want || err != nil {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
}
