package route

import (
	"slices"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// didYouMean is the end of a sentence about an unknown name.
func didYouMean(name string, known []string) string {
	slices.Sort(known)
	if near, ok := bellhop.Nearest(name, known); ok {
		return `; did you mean "` + near + `"?`
	}
	return ""
}
