package catalog

import (
	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/acr"
	"github.com/bellhop-dev/bellhop/pkg/sources/alertmanager"
	"github.com/bellhop-dev/bellhop/pkg/sources/azuredevops"
	"github.com/bellhop-dev/bellhop/pkg/sources/bitbucketcloud"
	"github.com/bellhop-dev/bellhop/pkg/sources/bitbucketserver"
	"github.com/bellhop-dev/bellhop/pkg/sources/cdevents"
	"github.com/bellhop-dev/bellhop/pkg/sources/dockerhub"
	"github.com/bellhop-dev/bellhop/pkg/sources/flux"
	"github.com/bellhop-dev/bellhop/pkg/sources/gcr"
	"github.com/bellhop-dev/bellhop/pkg/sources/generic"
	"github.com/bellhop-dev/bellhop/pkg/sources/generichmac"
	"github.com/bellhop-dev/bellhop/pkg/sources/genericoidc"
	"github.com/bellhop-dev/bellhop/pkg/sources/gitea"
	"github.com/bellhop-dev/bellhop/pkg/sources/github"
	"github.com/bellhop-dev/bellhop/pkg/sources/gitlab"
	"github.com/bellhop-dev/bellhop/pkg/sources/harbor"
	"github.com/bellhop-dev/bellhop/pkg/sources/nexus"
	"github.com/bellhop-dev/bellhop/pkg/sources/quay"
	"github.com/bellhop-dev/bellhop/pkg/sources/standardwebhooks"
)

// Sources are all sources, by name.
var Sources = []bellhop.Kind[bellhop.Source]{
	acr.Kind,
	alertmanager.Kind,
	azuredevops.Kind,
	bitbucketcloud.Kind,
	bitbucketserver.Kind,
	cdevents.Kind,
	dockerhub.Kind,
	flux.Kind,
	gcr.Kind,
	generic.Kind,
	generichmac.Kind,
	genericoidc.Kind,
	gitea.Kind,
	github.Kind,
	gitlab.Kind,
	harbor.Kind,
	nexus.Kind,
	quay.Kind,
	standardwebhooks.Kind,
}
