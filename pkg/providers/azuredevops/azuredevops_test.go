package azuredevops_test

import (
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/azuredevops"
)

func TestProvider(t *testing.T) {
	t.Parallel()
	bellhoptest.RunProvider(t, azuredevops.Kind, bellhoptest.ProviderOptions{
		Answer:  `{"id":1,"state":"succeeded","context":{"name":"x","genre":"bellhop"}}`,
		Accepts: func(status int) bool { return status >= 200 && status <= 299 && status != 203 },
		Answers: []bellhoptest.Answer{
			{Status: 201, Body: `{"id":1,"state":"succeeded","context":{"name":"x","genre":"bellhop"}}`, Want: "accepted"},
			// What a token that is wrong or has expired is answered with.
			{Status: 203, Body: `<html>Sign in to your account</html>`, Want: "permanent", Says: "personal access token"},
			{Status: 203, Body: `{"context":{}}`, Want: "permanent", Says: "personal access token"},
			{Status: 302, Header: map[string]string{"Location": "https://spsprodcus1.vssps.visualstudio.com/_signin?realm=dev.azure.com"}, Body: `<html>Object moved</html>`, Want: "permanent", Says: "personal access token"},
			{Status: 401, Body: `{"message":"TF400813: The user is not authorized to access this resource."}`, Want: "permanent", Says: "personal access token"},
			{Status: 200, Body: `<html>Sign in</html>`, Want: "retried", Says: "not an answer of Azure DevOps"},
			{Status: 403, Body: `{"message":"TF401027: You need the Git 'GenericContribute' permission."}`, Want: "permanent", Says: "Code: Status"},
			{Status: 404, Body: `{"message":"TF401175: The version descriptor could not be resolved"}`, Want: "permanent", Says: "check the address"},
			{Status: 429, Header: map[string]string{"Retry-After": "90"}, Want: "paused", Pause: 90 * time.Second},
			{Status: 503, Header: map[string]string{"Retry-After": "90"}, Want: "paused", Pause: 90 * time.Second},
		},
		Limits: []bellhoptest.Limit{ // of asked-push, the first case, whose route asks for a status
			{Name: "name", Max: 255, Unit: httpsend.UTF16, Set: bellhoptest.SetContext, Get: bellhoptest.Text("context", "name")},
			{Name: "description", Max: 1000, Unit: httpsend.UTF16, Set: bellhoptest.SetDescription, Get: bellhoptest.Text("description")},
		},
	})
}
