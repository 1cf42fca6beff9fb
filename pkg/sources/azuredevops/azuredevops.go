// Package azuredevops receives the service hooks of Azure DevOps, the cloud service and the server.
//
// At Azure DevOps, open the project's settings, "Service hooks", "Create subscription", "Web Hooks"; then choose an
// event. The URL is the endpoint's hook URL, the basic authentication password the content of the endpoint's key,
// the user name anything (the form wants one). Leave "Resource details to send" and both kinds of messages at All:
// what is not sent cannot be told. One subscription is for one event; several of them may post to the same URL.
//
// Azure DevOps signs nothing; it sends the password over HTTPS only. The event's type is eventType, such as git.push
// or ms.vss-pipelines.run-state-changed-event, the delivery id the event's id, which stays the same over Azure's
// retries. A push that updates several branches and tags makes an event of each. Builds, pipeline runs with their
// stages, jobs and approvals, and the releases of classic pipelines are of kind ci; work items are of kind other,
// comments on them of kind comment. The "Test" button sends an event like any other, of made-up data: nothing in
// it says for sure that it is a test.
//
// Payloads of dev.azure.com without an SSH URL get the one that belongs to the HTTPS URL.
//
// https://learn.microsoft.com/azure/devops/service-hooks/events
// https://learn.microsoft.com/azure/devops/service-hooks/services/webhooks
package azuredevops

import (
	"context"
	"encoding/base64"
	"net/http"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/verify"
)

// Kind is the manifest.
var Kind = bellhop.Define("azuredevops", "Azure DevOps: service hooks of repositories, pipelines, releases and work items",
	Settings{}, build,
	bellhop.Aliases{"azure-devops"},
	bellhop.SourceTraits{
		Verification: bellhop.ByToken,
		Credentials:  []string{headerAuthorization},
		Sign:         sign,
	})

// Settings of an endpoint: there are none.
type Settings struct{}

const headerAuthorization = "Authorization"

type source struct {
	holdsKey func(*bellhop.Request) error
}

func build(setup bellhop.Setup, _ Settings) (bellhop.Source, error) {
	return &source{verify.Basic("", setup.Keys)}, nil
}

// Verify compares the password of basic authentication with the key.
func (s *source) Verify(_ context.Context, r *bellhop.Request) error { return s.holdsKey(r) }

func sign(key bellhop.Secret, h http.Header, _ []byte) {
	h.Set(headerAuthorization, "Basic "+base64.StdEncoding.EncodeToString([]byte(":"+key.RevealString())))
}
