package catalog

import (
	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/providers/azuredevops"
	"github.com/bellhop-dev/bellhop/pkg/providers/azureeventhub"
	"github.com/bellhop-dev/bellhop/pkg/providers/bitbucket"
	"github.com/bellhop-dev/bellhop/pkg/providers/bitbucketserver"
	"github.com/bellhop-dev/bellhop/pkg/providers/discord"
	"github.com/bellhop-dev/bellhop/pkg/providers/flux"
	"github.com/bellhop-dev/bellhop/pkg/providers/fluxreconcile"
	"github.com/bellhop-dev/bellhop/pkg/providers/generic"
	"github.com/bellhop-dev/bellhop/pkg/providers/generichmac"
	"github.com/bellhop-dev/bellhop/pkg/providers/gitea"
	"github.com/bellhop-dev/bellhop/pkg/providers/github"
	"github.com/bellhop-dev/bellhop/pkg/providers/gitlab"
	"github.com/bellhop-dev/bellhop/pkg/providers/googlechat"
	"github.com/bellhop-dev/bellhop/pkg/providers/log"
	"github.com/bellhop-dev/bellhop/pkg/providers/msteams"
	"github.com/bellhop-dev/bellhop/pkg/providers/rocket"
	"github.com/bellhop-dev/bellhop/pkg/providers/sentry"
	"github.com/bellhop-dev/bellhop/pkg/providers/slack"
	"github.com/bellhop-dev/bellhop/pkg/providers/webex"
)

// Providers are all providers, by name.
var Providers = []bellhop.Kind[bellhop.Provider]{
	azuredevops.Kind,
	azureeventhub.Kind,
	bitbucket.Kind,
	bitbucketserver.Kind,
	discord.Kind,
	flux.Kind,
	fluxreconcile.Kind,
	generic.Kind,
	generichmac.Kind,
	gitea.Kind,
	github.Kind,
	gitlab.Kind,
	googlechat.Kind,
	log.Kind,
	msteams.Kind,
	rocket.Kind,
	sentry.Kind,
	slack.Kind,
	webex.Kind,
}
