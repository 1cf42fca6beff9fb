package github

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
)

func TestSource(t *testing.T) { t.Parallel(); bellhoptest.RunSource(t, Kind) }

func TestFixtures(t *testing.T) { bellhoptest.RunFixtures(t, Kind, "github/*", "allowSHA1: true") }

func FuzzVerify(f *testing.F) { bellhoptest.FuzzVerify(f, Kind) }

func FuzzParse(f *testing.F) { bellhoptest.FuzzParse(f, Kind) }

// BenchmarkPush is the hot path: a push of 8 kB, of which most is the repository's addresses, as it is at
// GitHub.
func BenchmarkPush(b *testing.B) {
	key := bellhop.NewSecret([]byte("0123456789abcdef0123456789abcdef"))
	source, err := Kind.Build(bellhop.Setup{Keys: []bellhop.Secret{key}})
	if err != nil {
		b.Fatal(err)
	}
	r := &bellhop.Request{Header: http.Header{}, Body: pushOf(8 << 10)}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-GitHub-Event", "push")
	r.Header.Set("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
	Kind.Source.Sign(key, r.Header, r.Body)
	b.Run("verify", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(r.Body)))
		for b.Loop() {
			if err := source.Verify(b.Context(), r); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(r.Body)))
		for b.Loop() {
			if events, err := source.Parse(r); err != nil || events[0].Kind != bellhop.KindGitPush {
				b.Fatal(err)
			}
		}
	})
	// The measure: a general decoder's look at every byte, and nothing else.
	b.Run("valid", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(r.Body)))
		for b.Loop() {
			if !jsontext.Value(r.Body).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) {
				b.Fatal("not valid")
			}
		}
	})
}

func pushOf(size int) []byte {
	const repository = "https://api.github.com/repos/octo/repo"
	var b strings.Builder
	b.WriteString(`{"ref":"refs/heads/main","before":"6113728f27ae82c7b1a177c8d03f9e96e0adf246","after":"59b20b8d5c6ff8d09518454d4dd8b7b30f095ab5","repository":{"id":186853002,"full_name":"octo/repo","private":false,"clone_url":"https://github.com/octo/repo.git","ssh_url":"git@github.com:octo/repo.git","html_url":"https://github.com/octo/repo"`)
	for i := 0; b.Len() < size-1800; i++ {
		fmt.Fprintf(&b, `,"thing%d_url":"%s/things%d{/sha}"`, i, repository, i)
	}
	b.WriteString(`},"pusher":{"name":"octocat","email":"octocat@example.com"},"sender":{"login":"octocat","id":583231},"created":false,"deleted":false,"forced":false,"compare":"https://github.com/octo/repo/compare/6113728f27ae...59b20b8d5c6f","commits":[`)
	for i := 0; b.Len() < size; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":"59b20b8d5c6ff8d09518454d4dd8b7b30f095ab%d","tree_id":"f9d2a07e9488b91af2641b26b9407fe22a451433","distinct":true,"message":"Change number %d\n\nwith a body","timestamp":"2026-01-02T03:04:05Z","url":"https://github.com/octo/repo/commit/%d","author":{"name":"Octo Cat","email":"octocat@example.com","username":"octocat"},"committer":{"name":"GitHub","email":"noreply@github.com","username":"web-flow"},"added":["a/file"],"removed":[],"modified":["README.md"]}`, i%10, i, i)
	}
	b.WriteString(`],"head_commit":{"id":"59b20b8d5c6ff8d09518454d4dd8b7b30f095ab5"}}`)
	return []byte(b.String())
}
