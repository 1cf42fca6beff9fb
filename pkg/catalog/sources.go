package catalog

import (
	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/bitbucketcloud"
	"github.com/bellhop-dev/bellhop/pkg/sources/dockerhub"
	"github.com/bellhop-dev/bellhop/pkg/sources/generichmac"
	"github.com/bellhop-dev/bellhop/pkg/sources/github"
	"github.com/bellhop-dev/bellhop/pkg/sources/gitlab"
	"github.com/bellhop-dev/bellhop/pkg/sources/standardwebhooks"
)

// Sources are all sources, by name.
var Sources = []bellhop.Kind[bellhop.Source]{
	bitbucketcloud.Kind,
	dockerhub.Kind,
	generichmac.Kind,
	github.Kind,
	gitlab.Kind,
	standardwebhooks.Kind,
}
