package describe

import (
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// What the sources' own cases do not reach; those hold the rest byte for byte.
func TestWordsForLittle(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		describe func(*bellhop.Event)
		event    bellhop.Event
		kind     bellhop.EventKind
		title    string
		message  string
	}{
		{"push of nothing known", func(e *bellhop.Event) { Push(e, Commits{}) }, bellhop.Event{}, bellhop.KindOther, "somebody pushed", "**somebody** pushed"},
		{"created branch", func(e *bellhop.Event) { Push(e, Commits{Created: true}) }, bellhop.Event{Branch: "b", Actor: "a"}, bellhop.KindGitPush, "a created b", "**a** created `b`"},
		{"forced, commits unknown", func(e *bellhop.Event) { Push(e, Commits{Forced: true}) }, bellhop.Event{Branch: "b", Actor: "a", Repo: bellhop.Repo{Name: "o/r"}}, bellhop.KindGitPush, "a force-pushed b of o/r", "**a** force-pushed `b` in o/r"},
		{"one commit", func(e *bellhop.Event) { Push(e, Commits{First: []Commit{{ID: "1234567890"}}}) }, bellhop.Event{Branch: "b"}, bellhop.KindGitPush, "somebody pushed 1 commit to b", "- `1234567`"},
		{"tag without a name", func(e *bellhop.Event) { Tag(e, false, "") }, bellhop.Event{}, bellhop.KindGitTag, "a tag tagged", "**somebody** tagged"},
		{"deleted without a name", func(e *bellhop.Event) { Deletion(e) }, bellhop.Event{Commit: "x"}, bellhop.KindGitDelete, "branch without a name deleted", "**somebody** deleted the branch"},
		{"pull request of nothing known", func(e *bellhop.Event) { PullRequest(e, "pull request", "#", "", "") }, bellhop.Event{}, bellhop.KindPullRequest, "pull request changed", "**somebody**: pull request changed"},
		{"nothing", func(e *bellhop.Event) { Other(e, "", "") }, bellhop.Event{}, bellhop.KindOther, "event", "event"},
		{"hostile names", func(e *bellhop.Event) { Push(e, Commits{}) }, bellhop.Event{Branch: "a\nb", Actor: "*x*\r\n", Repo: bellhop.Repo{Name: "[o](r)", WebURL: "javascript:x"}}, bellhop.KindGitPush, "*x* pushed to a of [o](r)", "**\\*x\\*** pushed `a` in \\[o\\](r)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := c.event
			c.describe(&e)
			if e.Kind != c.kind || e.Title != c.title || e.Message != c.message {
				t.Errorf("%s, %q, %q; want %s, %q, %q", e.Kind, e.Title, e.Message, c.kind, c.title, c.message)
			}
			if e.Kind == bellhop.KindGitDelete && e.Commit != "" {
				t.Error("a deleted ref has a commit")
			}
		})
	}
}
