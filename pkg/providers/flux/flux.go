// Package flux tells Flux v1 of a push: fluxd fetches its git repository, or looks at an image's tags, at
// once instead of at its next poll. It does what flux-recv did.
//
// # Setting it up
//
// fluxd listens on port 3030; reach it through a Service, or run Bellhop in its pod. Nothing is to be
// configured at fluxd's end.
//
//	providers:
//	- name: flux
//	  type: flux
//	  address: http://flux.flux.svc:3030/api/flux   # the default is http://localhost:3030/api/flux
//
// The Secret may hold address, and token for an API that wants one (Weave Cloud's did).
//
// # What is sent
//
// A push to a branch is a git change with the clone URL and the branch. fluxd compares the URL with its own:
// the SSH URL is sent where the sender tells it, else the HTTPS one. A new or moved tag is a git change with
// the tag's name where the branch would be, since fluxd can be set to follow a tag (--git-branch=v1); one that
// follows a branch ignores it. A pushed image is an image change with its name alone.
//
// Deleted branches and tags and all other events say nothing to Flux: they count as delivered and nothing is
// sent. Flux v1 is end-of-life; for Flux v2 there is no notify API.
package flux

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
)

// Settings of a provider.
type Settings struct {
	Address bellhop.Secret `yaml:"address" secret:"address" doc:"base of Flux's API, default http://localhost:3030/api/flux"`
	Token   bellhop.Secret `secret:"token" doc:"token for an API behind Weave Cloud's gateway"`
}

// Kind speaks to Flux v1's notify API.
var Kind = httpsend.Define("flux", "Flux v1: fetch the repository or look at the image now",
	Settings{Address: bellhop.NewSecret([]byte("http://localhost:3030/api/flux"))}, build)

func build(_ bellhop.Setup, s Settings) (bellhop.Requester, error) {
	base, problems := httpsend.Address("address", s.Address)
	if base == nil {
		return nil, problems
	}
	return provider{base.JoinPath("v11/notify"), s.Token}, problems
}

type provider struct {
	url   *url.URL
	token bellhop.Secret
}

// change is the body of a notification. Its keys are capitalised.
// https://github.com/fluxcd/flux/blob/v1.25.4/pkg/api/v9/change.go
type change struct {
	Kind   string // "git" or "image"
	Source any    // gitUpdate or imageUpdate
}

type gitUpdate struct{ URL, Branch string }

type imageUpdate struct{ Name imageName }

// imageName is an image without tag; Domain is empty for Docker Hub.
// https://github.com/fluxcd/flux/blob/v1.25.4/pkg/image/image.go
type imageName struct{ Domain, Image string }

func (p provider) Request(ctx context.Context, e *bellhop.Event) (*http.Request, error) {
	c, err := changeOf(e)
	if c == nil || err != nil {
		return nil, err
	}
	req, err := httpsend.PostJSON(ctx, p.url, c)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if !p.token.Empty() {
		req.Header.Set("Authorization", "Scope-Probe token="+p.token.RevealString())
	}
	return req, nil
}

// Judge knows the answers that Flux's own client takes for success.
// https://github.com/fluxcd/flux/blob/v1.25.4/pkg/http/client/client.go
func (p provider) Judge(resp *http.Response, body []byte) error {
	switch resp.StatusCode {
	case http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusNoContent:
		return nil
	case http.StatusUnauthorized:
		return bellhop.Permanent(errors.New("answered 401 Unauthorized: write Flux's token under the key token of the Secret named by secretRef"))
	}
	if err := httpsend.Status(resp, body); err != nil {
		return err
	}
	return fmt.Errorf("%w, which is not an answer of Flux", httpsend.Answered(resp, body))
}

// changeOf is what an event means to Flux, nil if nothing.
func changeOf(e *bellhop.Event) (*change, error) {
	switch e.Kind {
	case bellhop.KindGitPush, bellhop.KindGitTag:
		u, ref := cloneURL(e), e.Branch
		if e.Kind == bellhop.KindGitTag {
			ref = e.Tag
		}
		if ref == "" {
			ref = strings.TrimPrefix(strings.TrimPrefix(e.Ref, "refs/heads/"), "refs/tags/")
		}
		if u == "" || ref == "" {
			return nil, errors.New("the event names no repository and branch that Flux could fetch")
		}
		return &change{"git", gitUpdate{u, ref}}, nil
	case bellhop.KindImagePush:
		name := parseImage(e.Image.Name)
		if name.Image == "" {
			return nil, errors.New("the event names no image that Flux could look at")
		}
		return &change{"image", imageUpdate{name}}, nil
	}
	return nil, nil
}

// cloneURL is the URL that Flux most likely was given. Bitbucket Cloud tells no SSH URL, but it has always
// the same form.
func cloneURL(e *bellhop.Event) string {
	if e.Repo.SSHURL != "" {
		return e.Repo.SSHURL
	}
	for _, web := range []string{e.Repo.HTTPURL, e.Repo.WebURL} {
		if u, err := url.Parse(web); err == nil && u.Hostname() == "bitbucket.org" {
			return "git@bitbucket.org:" + strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git") + ".git"
		}
	}
	if e.Repo.HTTPURL != "" {
		return e.Repo.HTTPURL
	}
	return e.Repo.WebURL
}

// parseImage splits a name where Flux splits it. Docker Hub's host in any spelling is no domain.
func parseImage(name string) imageName {
	domain, image, ok := strings.Cut(name, "/")
	if !ok || !strings.ContainsAny(domain, ".:") && domain != "localhost" && !strings.Contains(image, "/") {
		return imageName{Image: name}
	}
	switch domain {
	case "docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com":
		domain = ""
	}
	return imageName{domain, image}
}
