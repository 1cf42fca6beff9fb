// Package git reads what all git forges spell alike.
package git

import (
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

const (
	heads = "refs/heads/"
	tags  = "refs/tags/"
)

// SetRef sets Ref as it is spelled, and Branch or Tag if it is spelled in full.
func SetRef(e *bellhop.Event, ref string) {
	e.Ref = ref
	if b, ok := strings.CutPrefix(ref, heads); ok {
		e.Branch = b
	} else if t, ok := strings.CutPrefix(ref, tags); ok {
		e.Tag = t
	}
}

// Hash is a commit's hash, empty for the zeros that stand for "none".
func Hash(hash string) string {
	if strings.Trim(hash, "0") == "" {
		return ""
	}
	return hash
}
