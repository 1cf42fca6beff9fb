package commitstatus

import (
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

func TestAddresses(t *testing.T) {
	t.Parallel()
	const example = "https://git.example/owner/name"
	for _, tc := range []struct {
		address, base, repo string // no base: a problem
		warns               bool
	}{
		{"https://git.example/owner/name", "https://git.example", "owner/name", false},
		{"https://git.example/owner/name.git\n", "https://git.example", "owner/name", false},
		{"https://jane:secret@Git.Example:8443/owner/name/?x=1#y", "https://git.example:8443", "owner/name", false},
		{"http://git.example/owner/name", "http://git.example", "owner/name", true},
		{"http://127.0.0.1:3000/owner/name", "http://127.0.0.1:3000", "owner/name", false},
		{"ssh://git@git.example:2222/owner/name.git", "https://git.example", "owner/name", false},
		{"ssh://git@[2001:db8::1]:22/owner/name", "https://[2001:db8::1]", "owner/name", false},
		{"git@git.example:owner/name.git", "https://git.example", "owner/name", false},
		{"git@git.example:/owner/name.git", "https://git.example", "owner/name", false},
		{"git@ssh.github.com:owner/name.git", "https://github.com", "owner/name", false},
		{"https://git.example", "https://git.example", "", false},
		{"https://git.example/", "https://git.example", "", false},
		{"https://git.example/owner", "", "", false},
		{"https://git.example/owner/name/tree/main", "", "", false},
		{"https://git.example/owner/..", "", "", false},
		{"https://git.example/owner/a%0Ab", "", "", false},
		{"owner/name", "", "", false},
		{"ftp://git.example/owner/name", "", "", false},
		{"git.example:owner/name", "", "", false},
		{"https://169.254.169.254/owner/name", "", "", false},
		{"", "", "", false},
	} {
		r, problems := NewReporter(bellhop.Setup{}, Spec{Address: bellhop.NewSecret([]byte(tc.address)), Example: example, Find: OwnerAndName})
		at := r.Place()
		var base string
		if at.Base != nil {
			base = at.Base.String()
		}
		if base != tc.base || at.Repo != tc.repo || (problems.Err() == nil) != (tc.base != "") || (len(problems.Warnings()) > 0) != tc.warns {
			t.Errorf("%q: %s, %q, %v", tc.address, base, at.Repo, problems)
		}
	}
}

// TestPlaces holds which repository an event's status goes to.
func TestPlaces(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, address string
		repo          bellhop.Repo
		want          string // empty: nowhere
	}{
		{"the same repository", "https://git.example/owner/name", bellhop.Repo{Name: "owner/name", HTTPURL: "https://git.example/owner/name.git"}, "https://git.example owner/name"},
		{"in another case", "https://git.example/Owner/name", bellhop.Repo{Name: "owner/Name"}, "https://git.example Owner/name"},
		{"by SSH alone", "https://git.example/owner/name", bellhop.Repo{SSHURL: "git@git.example:owner/name.git"}, "https://git.example owner/name"},
		{"at an inner address", "http://127.0.0.1:3000/owner/name", bellhop.Repo{HTTPURL: "https://git.example/owner/name"}, "http://127.0.0.1:3000 owner/name"},
		{"a repository that the event does not name", "https://git.example/owner/name", bellhop.Repo{}, "https://git.example owner/name"},
		{"another repository", "https://git.example/owner/name", bellhop.Repo{Name: "owner/other"}, ""},
		{"a name that is none", "https://git.example/owner/name", bellhop.Repo{Name: "name"}, ""},
		{"each event's own", "https://git.example:8443", bellhop.Repo{SSHURL: "ssh://git@GIT.example:22/owner/name.git"}, "https://git.example:8443 owner/name"},
		{"each event's own, by its name", "https://git.example", bellhop.Repo{Name: "owner/name"}, "https://git.example owner/name"},
		{"each event's own, over plain http", "https://git.example", bellhop.Repo{HTTPURL: "http://git.example:81/owner/name"}, "https://git.example owner/name"},
		{"at another host", "https://git.example", bellhop.Repo{Name: "owner/name", WebURL: "https://other.example/owner/name"}, ""},
		{"no repository at all", "https://git.example", bellhop.Repo{}, ""},
		{"a repository that leads elsewhere", "https://git.example", bellhop.Repo{Name: "../.."}, ""},
	} {
		r := reporter(t, bellhop.Setup{}, tc.address, "")
		at, ok := r.place(&bellhop.Event{Repo: tc.repo})
		var got string
		if ok {
			got = at.Base.String() + " " + at.Repo
		}
		if got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}
