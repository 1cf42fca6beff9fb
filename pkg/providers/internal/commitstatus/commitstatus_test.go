package commitstatus

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
)

const hash = "731f7eaddfb6af01cb2173e18f0f75b0ba780ef1"

func reporter(t *testing.T, setup bellhop.Setup, address, context string) Reporter {
	t.Helper()
	r, problems := NewReporter(setup, Spec{
		Address: bellhop.NewSecret([]byte(address)), Example: "https://git.example/owner/name", Find: OwnerAndName, Context: context,
	})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return r
}

func fluxEvent() *bellhop.Event {
	return &bellhop.Event{
		ID: "01JZ", Time: time.Date(2026, 1, 2, 3, 4, 9, 0, time.UTC), Kind: bellhop.KindFlux, Severity: bellhop.Info,
		Reason: "ReconciliationSucceeded", Message: "Reconciliation finished in 1.2s",
		InvolvedObject: bellhop.ObjectReference{APIVersion: "kustomize.toolkit.fluxcd.io/v1", Kind: "Kustomization", Namespace: "apps", Name: "podinfo"},
		Metadata:       map[string]string{"kustomize.toolkit.fluxcd.io/revision": "main@sha1:" + hash},
		Raw:            []byte(`{"timestamp":"2026-01-02T03:04:05Z"}`),
	}
}

func TestCommitOf(t *testing.T) {
	t.Parallel()
	const other = "cccccccccccccccccccccccccccccccccccccccc"
	for _, tc := range []struct {
		name     string
		metadata map[string]string
		want     string
	}{
		{"branch", map[string]string{"revision": "main@sha1:" + hash}, hash},
		{"branch with awkward characters", map[string]string{"revision": "feature/a@b:c@sha1:" + hash}, hash},
		{"no branch", map[string]string{"revision": "sha1:" + hash}, hash},
		{"legacy", map[string]string{"revision": "main/" + hash}, hash},
		{"legacy, branch with slashes", map[string]string{"revision": "feature/a/b/" + hash}, hash},
		{"legacy tag", map[string]string{"revision": "v1.8.0/" + hash}, hash},
		{"upper case and white space", map[string]string{"revision": " main@sha1:" + strings.ToUpper(hash) + "\n"}, hash},
		{"the origin's before the artifact's", map[string]string{"revision": "latest@sha256:" + strings.Repeat("a", 64), "originRevision": "main@sha1:" + hash}, hash},
		{"the commit before both", map[string]string{"revision": "main@sha1:" + other, "originRevision": "main@sha1:" + other, "commit": hash}, hash},
		{"the commit as a revision", map[string]string{"revision": "main@sha1:" + other, "commit": "main@sha1:" + hash}, hash},
		{"a long commit", map[string]string{"commit": strings.Repeat("b", 64)}, strings.Repeat("b", 64)},
		{"a commit that is none", map[string]string{"commit": "latest", "revision": "main@sha1:" + hash}, hash},
		{"an artifact's digest", map[string]string{"revision": "latest@sha256:" + strings.Repeat("a", 64)}, ""},
		{"a digest alone", map[string]string{"revision": "sha256:" + strings.Repeat("a", 64)}, ""},
		{"a chart's version", map[string]string{"revision": "6.5.4+" + hash[:12]}, ""},
		{"half a hash", map[string]string{"revision": "main@sha1:" + hash[:39]}, ""},
		{"a hash and more", map[string]string{"revision": "main@sha1:" + hash + "0"}, ""},
		{"no hash", map[string]string{"revision": "main@sha1:../../../../../repos/other/statuses/000"}, ""},
		{"another algorithm", map[string]string{"revision": "main@md5:" + hash}, ""},
		{"an algorithm that only ends so", map[string]string{"revision": "main@notsha1:" + hash}, ""},
		{"a bare hash as a revision", map[string]string{"revision": hash}, ""},
		{"nothing", nil, ""},
	} {
		if got := commitOf(tc.metadata); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestInWords(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"HealthCheckFailed": "health check failed", "ReconciliationSucceeded": "reconciliation succeeded", "OCIPullFailed": "oci pull failed",
		"Step2Done": "step 2 done", "Progressing": "progressing", "build failed": "build failed", "info": "", "error": "", "": "",
		"ÄnderungFehlt": "änderung fehlt", "ABC": "abc", "bad\x00 \n reason": "bad reason",
	} {
		if got := inWords(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

// TestStates holds what events say, and that it takes an event of Flux or a route to make them say it.
// The digits are those of: printf one/team | sha256sum.
func TestStates(t *testing.T) {
	t.Parallel()
	push := func() *bellhop.Event {
		return &bellhop.Event{
			ID: "01JZ", Time: time.Date(2026, 1, 2, 3, 4, 9, 0, time.UTC), Endpoint: "app", Kind: bellhop.KindGitPush,
			Title: "1 commit to main", Commit: hash, Repo: bellhop.Repo{Name: "owner/name"}, CommitStatus: &bellhop.CommitStatus{},
		}
	}
	for _, tc := range []struct {
		name  string
		event *bellhop.Event
		with  func(e *bellhop.Event)
		want  string // of the state: the context and the value
	}{
		{"success", fluxEvent(), func(*bellhop.Event) {}, "kustomization/apps/podinfo/# success: reconciliation succeeded"},
		{"error", fluxEvent(), func(e *bellhop.Event) {
			e.Severity, e.Reason, e.Message = bellhop.Error, "HealthCheckFailed", "\n timeout\twaiting \nfor more"
		}, "kustomization/apps/podinfo/# failure: timeout waiting"},
		{"error without words", fluxEvent(), func(e *bellhop.Event) { e.Severity, e.Reason, e.Message = bellhop.Error, "BuildFailed", "" }, "kustomization/apps/podinfo/# failure: build failed"},
		{"progressing", fluxEvent(), func(e *bellhop.Event) { e.Reason = "Progressing" }, "kustomization/apps/podinfo/# pending: progressing"},
		{"an error while progressing", fluxEvent(), func(e *bellhop.Event) { e.Reason, e.Severity = "Progressing", bellhop.Error }, "kustomization/apps/podinfo/# failure: Reconciliation finished in 1.2s"},
		{"old reason", fluxEvent(), func(e *bellhop.Event) { e.Reason = "info" }, "kustomization/apps/podinfo/# success: Reconciliation finished in 1.2s"},
		{"no words at all", fluxEvent(), func(e *bellhop.Event) { e.Reason, e.Message = "", "" }, "kustomization/apps/podinfo/# success: success"},
		{"no namespace", fluxEvent(), func(e *bellhop.Event) { e.InvolvedObject.Namespace = "" }, "kustomization/podinfo/# success: reconciliation succeeded"},
		{"no commit", fluxEvent(), func(e *bellhop.Event) { e.Metadata = nil }, ""},
		{"the event's commit is not the metadata's", fluxEvent(), func(e *bellhop.Event) { e.Metadata, e.Commit = nil, hash }, ""},
		{"the route has words for Flux", fluxEvent(), func(e *bellhop.Event) {
			e.CommitStatus = &bellhop.CommitStatus{State: bellhop.CommitError, Context: "a\nb", Description: "c\td"}
		}, "a b error: c d"},

		{"asked", push(), func(*bellhop.Event) {}, "git.push/app/# success: 1 commit to main"},
		{"asked of a failure", push(), func(e *bellhop.Event) { e.Kind, e.Severity = bellhop.KindCI, bellhop.Error }, "ci/app/# failure: 1 commit to main"},
		{"asked without a title", push(), func(e *bellhop.Event) { e.Title, e.Reason = "", "BranchPushed" }, "git.push/app/# success: branch pushed"},
		{"asked for a state", push(), func(e *bellhop.Event) { e.CommitStatus.State = bellhop.CommitPending }, "git.push/app/# pending: 1 commit to main"},
		{"asked for a state that is none", push(), func(e *bellhop.Event) { e.CommitStatus.State = "great" }, "git.push/app/# success: 1 commit to main"},
		{"asked in words that are none", push(), func(e *bellhop.Event) { e.CommitStatus.Context, e.CommitStatus.Description = " \n", "\x00" }, "git.push/app/# success: 1 commit to main"},
		{"not asked", push(), func(e *bellhop.Event) { e.CommitStatus = nil }, ""},
		{"a deleted branch", push(), func(e *bellhop.Event) { e.Commit = "" }, ""},
		{"a commit that is none", push(), func(e *bellhop.Event) { e.Commit = "../../other/statuses/" + hash }, ""},
		{"a commit that is too short", push(), func(e *bellhop.Event) { e.Commit = hash[:6] }, ""},
	} {
		tc.with(tc.event)
		r := reporter(t, bellhop.Setup{Name: "team", Installation: "one"}, "https://git.example/owner/name", "")
		var want bellhop.State
		if context, value, ok := strings.Cut(tc.want, " "); ok {
			if rest, ok := strings.CutPrefix(tc.want, "a b "); ok {
				context, value = "a b", rest
			}
			want = bellhop.State{
				Subject: "git.example/owner/name@" + hash + "/" + strings.ReplaceAll(context, "#", "5d5e1200"), Value: value, Time: tc.event.Time,
			}
			if tc.event.Kind == bellhop.KindFlux { // Flux's own clock
				want.Time = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
			}
		}
		if diff := cmp.Diff(want, r.State(tc.event)); diff != "" {
			t.Errorf("%s: %s", tc.name, diff)
		}
	}
}

func TestContextsAreUnique(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, setup := range []bellhop.Setup{{Name: "a", Installation: "x"}, {Name: "a", Installation: "y"}, {Name: "b", Installation: "x"}, {Name: "a"}} {
		for _, namespace := range []string{"apps", "other"} {
			e := fluxEvent()
			e.InvolvedObject.Namespace = namespace
			r := reporter(t, setup, "https://git.example/owner/name", "")
			s, _ := r.Status(e)
			where := setup.Installation + " " + setup.Name + " " + namespace
			context := s.Context(255, httpsend.UTF16)
			if other, taken := seen[context]; taken {
				t.Errorf("%s and %s both say %s", where, other, context)
			}
			seen[context] = where
		}
	}
	if s, _ := reporter(t, bellhop.Setup{Name: "a"}, "https://git.example/owner/name", " mine ").Status(fluxEvent()); s.context != "mine" {
		t.Errorf("the setting became %q", s.context)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	for _, n := range []int{9, 39, 40, 41, 400} {
		s := Status{context: strings.Repeat("x", n), description: strings.Repeat("é", n)}
		other := Status{context: strings.Repeat("x", n) + "y"}
		for _, u := range []httpsend.Unit{httpsend.Bytes, httpsend.Runes, httpsend.UTF16} {
			context, description := s.Context(40, u), s.Description(40, u)
			if u.Len(context) > 40 || u.Len(description) > 40 {
				t.Errorf("%d %s became %d and %d", n, u, u.Len(context), u.Len(description))
			}
			if (context == s.context) != (n <= 40) {
				t.Errorf("a context of %d became %q", n, context)
			}
			if context == other.Context(40, u) {
				t.Errorf("two contexts of %d became one", n)
			}
		}
	}
	for link, want := range map[string]string{
		"https://git.example/a b": "https://git.example/a%20b", "http://git.example": "http://git.example", "javascript:alert(1)": "", "//git.example": "",
		"https:/x": "", "": "", "https://git.example/" + strings.Repeat("x", 100): "", "\x00": "",
	} {
		if got := (Status{link: link}).Link(100); got != want {
			t.Errorf("link %q became %q, want %q", link, got, want)
		}
	}
}

// FuzzStatus looks for an event that makes a request go somewhere else than to a commit's status.
func FuzzStatus(f *testing.F) {
	f.Add("main@sha1:"+hash, "owner/name", "https://git.example/owner/name.git", "Kustomization", "podinfo", "text", true)
	f.Add("main/"+hash, "../x", "git@git.example:owner/name", "K", "..", "a\x00b", false)
	f.Add(hash, "owner/..", "ssh://git@git.example:22/owner/../../x", "", "", "", false)
	at, problems := NewReporter(bellhop.Setup{}, Spec{Address: bellhop.NewSecret([]byte("https://git.example")), Find: OwnerAndName})
	if len(problems) > 0 {
		f.Fatal(problems)
	}
	f.Fuzz(func(t *testing.T, revision, name, clone, kind, object, text string, flux bool) {
		e := fluxEvent()
		e.Metadata = map[string]string{"revision": revision}
		if !flux {
			e.Kind, e.Commit = bellhop.KindGitPush, revision
		}
		e.Repo, e.InvolvedObject.Kind, e.InvolvedObject.Name = bellhop.Repo{Name: name, HTTPURL: clone}, kind, object
		e.Message, e.Title, e.Link = text, text, text
		e.CommitStatus = &bellhop.CommitStatus{Context: object, Description: text}
		s, ok := at.Status(e)
		if !ok {
			return
		}
		if s.Base.Host != "git.example" || s.Base.Scheme != "https" || !shortHash.MatchString(s.Commit) {
			t.Errorf("goes to %s, %q", s.Base, s.Commit)
		}
		owner, repo, _ := strings.Cut(s.Repo, "/")
		path := s.URL("repos", owner, repo, "statuses", s.Commit).EscapedPath()
		if got := strings.Count(path, "/"); got != 4 || !strings.HasSuffix(path, "/statuses/"+s.Commit) {
			t.Errorf("the path is %s", path)
		}
		for _, part := range []string{s.context, s.description} {
			if part == "" || part != httpsend.OneLine(part) {
				t.Errorf("%q is no line", part)
			}
		}
	})
}
