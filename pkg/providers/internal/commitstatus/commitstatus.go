// Package commitstatus decides what an event says of a commit, for all git hosts alike: whether it says
// something at all, of which commit in which repository, in which state, under which context and in which
// words. What remains to a provider is how its host spells that.
//
// An event of Flux says something if its metadata names a commit: under commit, else originRevision, else
// revision. Revisions are spelt main@sha1:HASH, sha1:HASH or, by old Flux, main/HASH; the digest of an OCI artifact
// (latest@sha256:…) is no commit. An error is a failure, the reason Progressing is pending, all else
// a success. Errors are described by the first line of their message, since that says what to mend, others by
// their reason in words ("reconciliation succeeded"), which does not change from one round to the next.
//
// Any other event says something only if its route asks for it, of the event's commit; what the route leaves
// open follows from the event: the state from its severity, the description is its title.
//
// A context tells the status from others of the same commit. It is KIND/NAMESPACE/NAME of the object, or KIND and
// ENDPOINT of an event that is not Flux's, and then eight digits that tell this provider and this installation
// from others that report on the same repository: two clusters never overwrite each other's.
package commitstatus

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
)

// Status is what an event says of a commit.
type Status struct {
	Place
	// Commit is a hash, 7 to 64 hexadecimal digits in lower case; of Flux's events 40 or 64.
	Commit string
	State  bellhop.CommitState
	// context and description are one line of plain text each, not empty, as long as they are.
	context, description string
	link                 string
	since                time.Time
}

// Context is the status's context in at most limit units. What is cut is told apart by eight digits of its hash.
func (s Status) Context(limit int, u httpsend.Unit) string {
	if u.Len(s.context) <= limit {
		return s.context
	}
	return httpsend.Cut(s.context, limit-len("-01234567"), u) + "-" + digits(s.context)
}

// Description is the status's description in at most limit units.
func (s Status) Description(limit int, u httpsend.Unit) string {
	return httpsend.Cut(s.description, limit, u)
}

// Link is where a person may read more, in at most limit bytes of an http or https URL; empty if there is none.
func (s Status) Link(limit int) string {
	u, err := url.Parse(s.link)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return ""
	}
	if text := u.String(); len(text) <= limit {
		return text
	}
	return ""
}

// Reporter decides what events say of commits, for one provider. It is the provider's bellhop.Stateful.
type Reporter struct {
	// at is where the provider's address points to; without a Repo to each event's own.
	at      Place
	find    Finder
	context string
	unique  string
}

// Spec is what a Reporter is made from.
type Spec struct {
	// Address is the setting address: a repository's clone URL, https or ssh, or a host's alone.
	Address bellhop.Secret
	// Example is an address, for what is wrong with another.
	Example string
	// Find knows the host's URLs.
	Find Finder
	// Context is the setting context; empty for the default.
	Context string
}

// NewReporter reads the address. With a fatal problem the Reporter is of no use.
func NewReporter(setup bellhop.Setup, s Spec) (Reporter, bellhop.Problems) {
	at, problems := readAddress(s)
	return Reporter{at, s.Find, line(s.Context), digits(setup.Installation + "/" + setup.Name)}, problems
}

// Place is where the address points to; without a Repo to each event's own.
func (r Reporter) Place() Place { return r.at }

// Status is what the event says, false if it says nothing to this provider.
func (r Reporter) Status(e *bellhop.Event) (Status, bool) {
	var s Status
	switch asked := e.CommitStatus; {
	case e.Kind == bellhop.KindFlux:
		s = r.ofFlux(e)
	case asked != nil:
		s = r.ofEvent(e)
	}
	if s.Commit == "" {
		return Status{}, false
	}
	var here bool
	if s.Place, here = r.place(e); !here {
		return Status{}, false
	}
	if r.context != "" {
		s.context = r.context
	}
	if asked := e.CommitStatus; asked != nil {
		if slices.Contains(bellhop.CommitStates, asked.State) {
			s.State = asked.State
		}
		s.context = cmp.Or(line(asked.Context), s.context)
		s.description = cmp.Or(line(asked.Description), s.description)
	}
	s.description = cmp.Or(s.description, string(s.State))
	s.link = strings.TrimSpace(e.Link)
	return s, true
}

// State is bellhop.Stateful's: the newest state of a context is what holds.
func (r Reporter) State(e *bellhop.Event) bellhop.State {
	s, ok := r.Status(e)
	if !ok {
		return bellhop.State{}
	}
	return bellhop.State{
		Subject: strings.ToLower(path.Join(s.Base.Host, s.Base.Path, s.Repo)) + "@" + s.Commit + "/" + s.context,
		Value:   string(s.State) + ": " + s.description,
		Time:    s.since,
	}
}

// ofFlux is what an event of Flux says; without a Commit nothing.
func (r Reporter) ofFlux(e *bellhop.Event) Status {
	f := e.FluxObject()
	s := Status{Commit: commitOf(f.Metadata), State: bellhop.CommitSuccess, since: f.Timestamp}
	if s.Commit == "" {
		return s
	}
	first, _, _ := strings.Cut(strings.TrimSpace(f.Message), "\n")
	first, reason := line(first), inWords(f.Reason)
	s.description = cmp.Or(reason, first)
	switch {
	case f.Severity == bellhop.Error:
		s.State = bellhop.CommitFailure
		s.description = cmp.Or(first, reason)
	case f.Reason == "Progressing":
		s.State = bellhop.CommitPending
	}
	o := f.InvolvedObject
	s.context = r.named(o.Kind, o.Namespace, o.Name)
	return s
}

// ofEvent is what any other event says; without a Commit nothing.
func (r Reporter) ofEvent(e *bellhop.Event) Status {
	s := Status{
		State:       bellhop.CommitSuccess,
		context:     r.named(string(e.Kind), e.Endpoint),
		description: cmp.Or(line(e.Title), inWords(e.Reason)),
		since:       e.Time,
	}
	if hash := strings.ToLower(e.Commit); shortHash.MatchString(hash) {
		s.Commit = hash
	}
	if e.Severity == bellhop.Error {
		s.State = bellhop.CommitFailure
	}
	return s
}

// named is the default context.
func (r Reporter) named(kind string, names ...string) string {
	parts := []string{strings.ToLower(line(kind))}
	for _, n := range names {
		parts = append(parts, line(n))
	}
	parts = append(parts, r.unique)
	var known []string
	for _, p := range parts {
		if p != "" {
			known = append(known, p)
		}
	}
	return strings.Join(known, "/")
}

var (
	fullHash  = regexp.MustCompile(`^(?:[0-9a-f]{40}|[0-9a-f]{64})$`)
	shortHash = regexp.MustCompile(`^[0-9a-f]{7,64}$`)
)

// commitOf is the commit that a Flux event's metadata names, empty if none.
// https://fluxcd.io/flux/components/notification/providers/#git-commit-status-updates
func commitOf(metadata map[string]string) string {
	for _, key := range []string{"commit", "originRevision", "revision"} {
		value := strings.ToLower(strings.TrimSpace(metadata[key]))
		if key == "commit" && fullHash.MatchString(value) {
			return value
		}
		if hash := hashOf(value); hash != "" {
			return hash
		}
	}
	return ""
}

// hashOf is the commit's hash in a revision. Branches may hold both @ and /.
// https://github.com/fluxcd/flux2/blob/main/rfcs/0005-artifact-revision-and-digest/README.md
func hashOf(revision string) string {
	name, hash, ok := cutLast(revision, ":")
	if ok {
		if name != "sha1" && !strings.HasSuffix(name, "@sha1") {
			return ""
		}
	} else if _, hash, ok = cutLast(revision, "/"); !ok {
		return ""
	}
	if len(hash) != 40 || !fullHash.MatchString(hash) {
		return ""
	}
	return hash
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// inWords is a reason as a person would write it: HealthCheckFailed is "health check failed". Reasons of old
// that only repeat the severity say nothing.
func inWords(reason string) string {
	reason = line(reason)
	if reason == string(bellhop.Info) || reason == string(bellhop.Error) {
		return ""
	}
	var b strings.Builder
	runes := []rune(reason)
	for i, r := range runes {
		if i > 0 && class(r) != class(runes[i-1]) && class(r) != small ||
			i > 0 && i+1 < len(runes) && class(r) == capital && class(runes[i-1]) == capital && class(runes[i+1]) == small {
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// The classes of runes between which words end.
const (
	small = iota
	capital
	digit
)

func class(r rune) int {
	switch {
	case unicode.IsUpper(r):
		return capital
	case unicode.IsDigit(r):
		return digit
	}
	return small
}

// digits are the first eight of a text's hash: enough to tell a handful apart, short enough to read.
func digits(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:4])
}

// maxLine is how many bytes of a text are looked at: more than any git host shows.
const maxLine = 8 << 10

// line is a text on one line.
func line(s string) string { return httpsend.OneLine(httpsend.Cut(s, maxLine, httpsend.Bytes)) }
