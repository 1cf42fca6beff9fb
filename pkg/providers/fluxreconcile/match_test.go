package fluxreconcile

import (
	"strings"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Each line of these tables is one repository or image, in all the spellings that mean it.
var sameRepositories = []string{
	`https://github.com/grand-hotel/frontdesk https://github.com/grand-hotel/frontdesk.git http://github.com/grand-hotel/frontdesk/
	 https://user:token@GitHub.com:443/Grand-Hotel/Frontdesk.git git@github.com:grand-hotel/frontdesk.git github.com:grand-hotel/frontdesk
	 ssh://git@github.com/grand-hotel/frontdesk ssh://git@ssh.github.com:443/grand-hotel/frontdesk.git git://github.com/grand-hotel/frontdesk
	 git@github.com:/grand-hotel/frontdesk.git/`,
	`https://github.com/grand-hotel/kitchen git@github.com:grand-hotel/kitchen.git`,
	`https://github.com/grand-hotel/frontdesk.github.io`,
	`https://gitlab.com/a/b/c.git ssh://git@altssh.gitlab.com:443/a/b/c.git`,
	`https://gitlab.com/a/b.git`,
	`https://gitea.example:3000/o/r.git ssh://git@gitea.example:2222/o/r.git`,
	`https://bitbucket.example/scm/prj/r.git ssh://git@bitbucket.example:7999/prj/r.git https://bitbucket.example/projects/PRJ/repos/r/browse
	 https://bitbucket.example/bitbucket/scm/PRJ/r.git https://bitbucket.example/bitbucket/projects/PRJ/repos/r`,
	`https://bitbucket.example/scm/~emma/r.git ssh://git@bitbucket.example:7999/~emma/r.git https://bitbucket.example/users/emma/repos/r/browse`,
	`https://bitbucket.example/scm/r.git`,
	`https://dev.azure.com/org/project/_git/repo https://org@dev.azure.com/org/project/_git/repo git@ssh.dev.azure.com:v3/org/project/repo
	 ssh://git@ssh.dev.azure.com/v3/org/project/repo https://org.visualstudio.com/project/_git/repo
	 https://org.visualstudio.com/DefaultCollection/project/_git/repo org@vs-ssh.visualstudio.com:v3/org/project/repo`,
	`https://dev.azure.com/org/project/_git/project https://dev.azure.com/org/_git/project https://org.visualstudio.com/_git/project`,
	`https://dev.azure.com/org/my%20project/_git/repo git@ssh.dev.azure.com:v3/org/my%20project/repo`,
	`https://[2001:db8::1]:8443/o/r ssh://git@[2001:db8::1]/o/r.git`,
}

var sameImages = []string{
	`nginx library/nginx docker.io/nginx docker.io/library/nginx index.docker.io/library/nginx registry-1.docker.io/library/nginx
	 registry.hub.docker.com/library/nginx DOCKER.IO/library/nginx`,
	`grandhotel/frontdesk docker.io/grandhotel/frontdesk index.docker.io/grandhotel/frontdesk`,
	`ghcr.io/grandhotel/frontdesk GHCR.io/GrandHotel/frontdesk ghcr.io:443/grandhotel/frontdesk`,
	`registry.example:5000/frontdesk`,
	`registry.example/frontdesk`,
	`localhost/frontdesk`,
	`localhost:5000/frontdesk`,
	`europe-docker.pkg.dev/project/repo/frontdesk`,
}

func TestSpellings(t *testing.T) {
	t.Parallel()
	for what, table := range map[string]struct {
		lines []string
		key   func(string) string
	}{"repository": {sameRepositories, repositoryKey}, "image": {sameImages, imageKey}} {
		line := map[string]int{}
		for i, spellings := range table.lines {
			var first string
			for n, s := range strings.Fields(spellings) {
				key := table.key(s)
				if n == 0 {
					if first = key; key == "" {
						t.Errorf("%s %s is not understood", what, s)
					}
					if other, taken := line[key]; taken {
						t.Errorf("%s %s is taken for that of line %d: %s", what, s, other, key)
					}
					line[key] = i
				}
				if key != first {
					t.Errorf("%s %s: %s, want %s", what, s, key, first)
				}
			}
		}
	}
}

func TestNoRepository(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", " ", "github.com", "https://github.com", "https://github.com/", "https://github.com/.git", "/srv/git/r.git",
		"./a:b", "https://%zz/o/r", "file:///srv/git/r", ":", "git@:x", "git@github.com:"} {
		if key := repositoryKey(s); key != "" {
			t.Errorf("%q became %q", s, key)
		}
	}
	// What is not understood matches nothing, not even itself.
	if ofRepository(bellhop.Repo{HTTPURL: "x", SSHURL: "", WebURL: "/"}, "x") || ofRepository(bellhop.Repo{}, "") {
		t.Error("no address matches no address")
	}
}

func FuzzSpellings(f *testing.F) {
	for _, lines := range [][]string{sameRepositories, sameImages} {
		for _, l := range lines {
			for s := range strings.FieldsSeq(l) {
				f.Add(s)
			}
		}
	}
	f.Fuzz(func(t *testing.T, s string) {
		if key := repositoryKey(s); key != "" && (strings.HasSuffix(key, "/") || key[0] == '/') {
			t.Errorf("repository %q became %q", s, key)
		}
		imageKey(s)
		underRegistry(s, s)
	})
}

func TestFollowsGit(t *testing.T) {
	t.Parallel()
	ref := func(keyValues ...string) any {
		m := map[string]any{}
		for i := 0; i < len(keyValues); i += 2 {
			m[keyValues[i]] = keyValues[i+1]
		}
		return m
	}
	push := &bellhop.Event{Kind: bellhop.KindGitPush, Branch: "main", Commit: "c0ffee"}
	tag := &bellhop.Event{Kind: bellhop.KindGitTag, Tag: "v1.2.3"}
	unknown := &bellhop.Event{Kind: bellhop.KindOther}
	for _, c := range []struct {
		ref                any
		push, tag, unknown bool
	}{
		{nil, true, true, true},
		{"main", true, true, true}, // no ref at all
		{ref(), true, true, true},
		{ref("branch", "main"), true, false, true},
		{ref("branch", "Main"), false, false, true},
		{ref("branch", "release"), false, false, true},
		{ref("branch", "main", "commit", "deadbeef"), true, false, true},
		{ref("commit", "deadbeef"), true, true, true},
		{ref("tag", "v1.2.3"), false, true, true},
		{ref("tag", "v1.2.4"), false, false, true},
		{ref("tag", "v1.2.4", "branch", "main"), false, false, true},
		{ref("semver", ">=1.0.0", "tag", "v1.2.4"), false, true, true},
		{ref("name", "refs/heads/main", "branch", "release"), true, false, true},
		{ref("name", "refs/heads/release", "branch", "main"), false, false, true},
		{ref("name", "refs/tags/v1.2.3"), false, true, true},
		{ref("name", "refs/pull/420/head"), true, true, true},
	} {
		for e, want := range map[*bellhop.Event]bool{push: c.push, tag: c.tag, unknown: c.unknown} {
			if got := followsGit(c.ref, e); got != want {
				t.Errorf("ref %v, branch %q, tag %q: %v, want %v", c.ref, e.Branch, e.Tag, got, want)
			}
		}
	}
}

func TestFollowsImage(t *testing.T) {
	t.Parallel()
	image := bellhop.Image{Name: "ghcr.io/o/r", Tag: "1.2.3", Digest: "sha256:aa"}
	for _, c := range []struct {
		ref   map[string]any
		image bellhop.Image
		want  bool
	}{
		{nil, image, true},
		{map[string]any{"tag": "1.2.3"}, image, true},
		{map[string]any{"tag": "latest"}, image, false},
		{map[string]any{"tag": "latest"}, bellhop.Image{Name: "ghcr.io/o/r", Digest: "sha256:aa"}, true},
		{map[string]any{"tag": "latest", "semver": ">=1"}, image, true},
		{map[string]any{"tag": "latest", "digest": "sha256:aa"}, image, true},
		{map[string]any{"digest": "sha256:bb"}, image, false},
		{map[string]any{"digest": "sha256:bb"}, bellhop.Image{Name: "ghcr.io/o/r", Tag: "1.2.3"}, true},
	} {
		if got := followsImage(c.ref, c.image); got != c.want {
			t.Errorf("ref %v, image %v: %v, want %v", c.ref, c.image, got, c.want)
		}
	}
}

func TestUnderRegistry(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		image, base string
		want        bool
	}{
		{"ghcr.io/o/charts/web", "ghcr.io/o/charts", true},
		{"ghcr.io/o/charts/web", "ghcr.io/o/charts/", true},
		{"ghcr.io/o/charts/web", "ghcr.io/o/charts/web", true},
		{"ghcr.io/o/charts/web", "ghcr.io", true},
		{"ghcr.io/o/charts/web", "GHCR.io:443/O", true},
		{"ghcr.io/o/charts-old/web", "ghcr.io/o/charts", false},
		{"ghcr.io/o/charts", "ghcr.io/o/charts/web", false},
		{"quay.io/o/charts/web", "ghcr.io/o/charts", false},
		{"o/web", "registry-1.docker.io/o", true},
		{"web", "docker.io/library", true},
		{"registry/charts/web", "registry/charts", true},
		{"registry/charts-old/web", "registry/charts", false},
	} {
		if got := underRegistry(c.image, c.base); got != c.want {
			t.Errorf("%s under %s: %v, want %v", c.image, c.base, got, c.want)
		}
	}
}

func TestSameImage(t *testing.T) {
	t.Parallel()
	if !sameImage("registry/frontdesk", "registry/frontdesk") || sameImage("registry/frontdesk", "registry/kitchen") {
		t.Error("a registry without a dot in its name is none like others")
	}
	if sameImage("", "") || sameImage("", "docker.io/library/") {
		t.Error("no image is the same as no image")
	}
}

func TestRequestedSince(t *testing.T) {
	t.Parallel()
	received := time.Date(2026, 11, 20, 17, 4, 12, 0, time.UTC)
	for _, c := range []struct {
		value string
		now   time.Duration // after it was received
		want  bool
	}{
		{"", time.Second, false},
		{"2026-11-20T17:04:12Z", time.Second, true},
		{"2026-11-20T17:04:12Z", -time.Second, true}, // by a clock that was put back
		{"2026-11-20T17:04:11.999999999Z", time.Second, false},
		{"2026-11-20T17:04:12.000000001Z", time.Second, true},
		{"2026-11-20T17:04:14Z", time.Second, false}, // of the future
		{"whenever", time.Second, false},
	} {
		if got := requestedSince(c.value, received, received.Add(c.now)); got != c.want {
			t.Errorf("%q, %v later: %v, want %v", c.value, c.now, got, c.want)
		}
	}
}

func TestParseStamp(t *testing.T) {
	t.Parallel()
	want := time.Date(2026, 11, 20, 17, 4, 12, 0, time.UTC)
	for _, s := range []string{
		"2026-11-20T17:04:12Z", "2026-11-20T18:04:12.000000000+01:00",
		"2026-11-20 17:04:12 +0000 UTC", "2026-11-20 17:04:12 +0000 UTC m=+3.000000001", "2026-11-20 18:04:12 +0100 CET m=+0.5",
		"1795194252",
	} {
		if got, ok := parseStamp(s); !ok || !got.Equal(want) {
			t.Errorf("%q: %v, %v; want %v", s, got, ok, want)
		}
	}
	for _, s := range []string{"", "now", "2026-11-20", "2026-11-20T17:04", "17:04:12", "1.5", "99999999999999999999"} {
		if got, ok := parseStamp(s); ok {
			t.Errorf("%q became %v", s, got)
		}
	}
}
