package azuredevops_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/azuredevops"
)

// status is what the limits are found in.
type status struct {
	Description string `json:"description"`
	Context     struct {
		Name string `json:"name"`
	} `json:"context"`
}

func read(body []byte) status {
	var s status
	if err := json.Unmarshal(body, &s); err != nil {
		panic(err)
	}
	return s
}

// The first case is asked-push, whose route asks for a status.
func setContext(e *bellhop.Event, text string) { e.CommitStatus = &bellhop.CommitStatus{Context: text} }

func setDescription(e *bellhop.Event, text string) {
	e.CommitStatus = &bellhop.CommitStatus{Description: text}
}

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
		Limits: []bellhoptest.Limit{
			{Name: "name", Max: 255, Unit: httpsend.UTF16, Set: setContext, Get: func(body []byte) string { return read(body).Context.Name }},
			{Name: "description", Max: 1000, Unit: httpsend.UTF16, Set: setDescription, Get: func(body []byte) string { return read(body).Description }},
		},
	})
}
