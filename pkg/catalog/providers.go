package catalog

import (
	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/providers/flux"
	"github.com/bellhop-dev/bellhop/pkg/providers/generic"
	"github.com/bellhop-dev/bellhop/pkg/providers/log"
	"github.com/bellhop-dev/bellhop/pkg/providers/slack"
)

// Providers are all providers, by name.
var Providers = []bellhop.Kind[bellhop.Provider]{
	flux.Kind,
	generic.Kind,
	log.Kind,
	slack.Kind,
}
