package strict

import (
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// didYouMean is the end of a message about an unknown word.
func didYouMean(word string, known []string) string {
	if near, ok := bellhop.Nearest(word, known); ok {
		return "did you mean " + quote(near) + "?"
	}
	if len(known) == 0 {
		return "nothing can be set here"
	}
	return "known here: " + strings.Join(known, ", ")
}
