package fluxreconcile

import (
	"net/url"
	"slices"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// matchable are the kinds that have an address to compare.
var matchable = []string{"GitRepository", "HelmRepository", "ImageRepository", "OCIRepository"}

// concerns reports whether an event is about the repository or image that an object follows. In doubt it is:
// a reconciliation too many costs a look at the repository, one too few costs the user the interval.
func concerns(e *bellhop.Event, o bellhop.Object) bool {
	spec, _ := o.Content["spec"].(map[string]any)
	switch o.Kind {
	case "GitRepository":
		return ofRepository(e.Repo, text(spec, "url")) && followsGit(spec["ref"], e)
	case "OCIRepository":
		name, ok := strings.CutPrefix(text(spec, "url"), "oci://")
		return ok && sameImage(e.Image.Name, name) && followsImage(spec["ref"], e.Image)
	case "HelmRepository":
		base, ok := strings.CutPrefix(text(spec, "url"), "oci://")
		return ok && e.Image.Name != "" && underRegistry(e.Image.Name, base)
	case "ImageRepository":
		return sameImage(e.Image.Name, text(spec, "image"))
	}
	return false
}

func text(m map[string]any, key string) string {
	s, _ := m[key].(string)
	return s
}

// followsGit reports whether a GitRepository's spec.ref is what the event changes. The first of name, semver,
// tag and branch counts. A commit is no reason against: it may just have been pushed.
// https://fluxcd.io/flux/components/source/gitrepositories/#reference
func followsGit(ref any, e *bellhop.Event) bool {
	r, _ := ref.(map[string]any)
	if e.Branch == "" && e.Tag == "" {
		return true
	}
	if name := text(r, "name"); name != "" {
		if branch, ok := strings.CutPrefix(name, "refs/heads/"); ok {
			return branch == e.Branch
		}
		if tag, ok := strings.CutPrefix(name, "refs/tags/"); ok {
			return tag == e.Tag
		}
		return true // a pull request's
	}
	if text(r, "semver") != "" {
		return e.Tag != ""
	}
	if tag := text(r, "tag"); tag != "" {
		return tag == e.Tag
	}
	if branch := text(r, "branch"); branch != "" {
		return branch == e.Branch
	}
	return true
}

// followsImage is the same for an OCIRepository's spec.ref. The first of digest, semver and tag counts.
// https://fluxcd.io/flux/components/source/ocirepositories/#reference
func followsImage(ref any, image bellhop.Image) bool {
	r, _ := ref.(map[string]any)
	if digest := text(r, "digest"); digest != "" {
		return image.Digest == "" || image.Digest == digest
	}
	if tag := text(r, "tag"); tag != "" && text(r, "semver") == "" {
		return image.Tag == "" || image.Tag == tag
	}
	return true
}

// ofRepository reports whether an address is one of the repository's.
func ofRepository(repo bellhop.Repo, address string) bool {
	key := repositoryKey(address)
	return key != "" && slices.ContainsFunc([]string{repo.HTTPURL, repo.SSHURL, repo.WebURL}, func(other string) bool {
		return repositoryKey(other) == key
	})
}

// sshHosts are hosts under which vendors serve SSH where port 22 is closed.
var sshHosts = map[string]string{
	"ssh.github.com":       "github.com", // https://docs.github.com/en/authentication/troubleshooting-ssh/using-ssh-over-the-https-port
	"altssh.gitlab.com":    "gitlab.com",
	"altssh.bitbucket.org": "bitbucket.org",
}

// repositoryKey is host/path of a repository, the same for all spellings of its address; empty if it is none.
// Scheme, user, port, case, .git and slashes at the ends are left out.
func repositoryKey(address string) string {
	var host, path string
	if strings.Contains(address, "://") {
		u, err := url.Parse(strings.TrimSpace(address))
		if err != nil {
			return ""
		}
		host, path = u.Hostname(), u.Path
	} else {
		// git@github.com:owner/name.git
		var ok bool
		if host, path, ok = strings.Cut(strings.TrimSpace(address), ":"); !ok || strings.Contains(host, "/") {
			return ""
		}
		host = host[strings.LastIndexByte(host, '@')+1:]
		if plain, err := url.PathUnescape(path); err == nil {
			path = plain
		}
	}
	host = strings.ToLower(host)
	if same, ok := sshHosts[host]; ok {
		host = same
	}
	path = strings.ToLower(strings.Trim(path, "/"))
	path = strings.Trim(strings.TrimSuffix(path, ".git"), "/")
	if host == "" || path == "" {
		return ""
	}
	if org, old := strings.CutSuffix(host, ".visualstudio.com"); old || host == "dev.azure.com" || host == "ssh.dev.azure.com" {
		return azureKey(host, org, path)
	}
	return host + "/" + bitbucketPath(path)
}

// bitbucketPath is project/repository, as in the SSH address, for the paths that Bitbucket Data Center has over
// HTTP: scm/project/repository to clone, projects/project/repos/repository/… and users/name/repos/repository/…
// to look at, each below a prefix if the server has one. Its hooks do not always tell all three. Other paths stay.
// https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html
func bitbucketPath(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		rest := parts[i+1:]
		switch {
		case part == "scm" && len(rest) == 2:
			return strings.Join(rest, "/")
		case len(rest) < 3 || rest[1] != "repos":
		case part == "projects":
			return rest[0] + "/" + rest[2]
		case part == "users":
			return "~" + rest[0] + "/" + rest[2]
		}
	}
	return path
}

// azureKey is dev.azure.com/organization/project/_git/repository for the addresses of Azure DevOps. org is the
// organization that the host tells.
// https://learn.microsoft.com/en-us/azure/devops/repos/git/use-ssh-keys-to-authenticate
func azureKey(host, org, path string) string {
	parts := strings.Split(path, "/")
	switch {
	case parts[0] == "v3" && len(parts) == 4: // SSH, of both hosts: v3/organization/project/repository
		parts = []string{parts[1], parts[2], "_git", parts[3]}
	case host != "dev.azure.com": // the old host: [DefaultCollection/]project/_git/repository
		if parts[0] == "defaultcollection" {
			parts = parts[1:]
		}
		parts = append([]string{org}, parts...)
	}
	if len(parts) == 3 && parts[1] == "_git" { // the project's first repository has its name
		parts = []string{parts[0], parts[2], "_git", parts[2]}
	}
	return "dev.azure.com/" + strings.Join(parts, "/")
}

func sameImage(a, b string) bool { return a != "" && imageKey(a) == imageKey(b) }

// underRegistry reports whether an image is at a base, a registry with or without a path, or below it.
func underRegistry(image, base string) bool {
	image, base = strings.ToLower(image), strings.ToLower(strings.Trim(base, "/"))
	if strings.HasPrefix(image+"/", base+"/") {
		return true // also a registry without a dot, which Docker takes for an account of its Hub
	}
	registry, path, _ := strings.Cut(base, "/")
	key := registryKey(registry) + "/"
	if path != "" {
		key += path + "/"
	}
	return strings.HasPrefix(imageKey(image)+"/", key)
}

// imageKey is the full name of an image without tag: registry/path, Docker Hub's as docker.io/library/nginx.
// https://pkg.go.dev/github.com/distribution/reference
func imageKey(name string) string {
	name = strings.ToLower(strings.Trim(name, "/"))
	registry, path, ok := strings.Cut(name, "/")
	if !ok || !strings.ContainsAny(registry, ".:") && registry != "localhost" {
		registry, path = dockerHub, name
	}
	registry = registryKey(registry)
	if registry == dockerHub && !strings.Contains(path, "/") {
		path = "library/" + path
	}
	return registry + "/" + path
}

const dockerHub = "docker.io"

// registryKey is a registry's host, the same for all that it is called by.
func registryKey(host string) string {
	switch host = strings.TrimSuffix(host, ":443"); host {
	case "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com":
		return dockerHub
	}
	return host
}
