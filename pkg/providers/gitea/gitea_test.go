package gitea_test

import (
	"encoding/json"
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/gitea"
)

// status is what the limits are found in.
type status struct {
	Context     string `json:"context"`
	Description string `json:"description"`
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
	bellhoptest.RunProvider(t, gitea.Kind, bellhoptest.ProviderOptions{
		Answer: `{"id":1,"status":"success","context":"x"}`,
		Answers: []bellhoptest.Answer{
			{Status: 201, Body: `{"id":1,"status":"success","context":"x"}`, Want: "accepted"},
			{Status: 200, Body: `<!DOCTYPE html><html>Sign in</html>`, Want: "retried", Says: "not an answer of Gitea"},
			{Status: 200, Body: `{"message":"no"}`, Want: "retried", Says: "not an answer of Gitea"},
			{Status: 400, Body: `{"message":"object does not exist [id: 731f7ea]"}`, Want: "permanent", Says: "object does not exist"},
			{Status: 401, Body: `{"message":"invalid username, password or token"}`, Want: "permanent", Says: "write a valid token"},
			{Status: 403, Body: `{"message":"token does not have at least one of required scope(s): [write:repository]"}`, Want: "permanent", Says: "repository: Read and Write"},
			{Status: 404, Body: `{"message":"The target couldn't be found."}`, Want: "permanent", Says: "check the address"},
			{Status: 423, Body: `{"message":"repo is archived"}`, Want: "permanent", Says: "repo is archived"},
		},
		Limits: []bellhoptest.Limit{
			{Name: "context", Max: 255, Unit: httpsend.UTF16, Set: setContext, Get: func(body []byte) string { return read(body).Context }},
			{Name: "description", Max: 255, Unit: httpsend.UTF16, Set: setDescription, Get: func(body []byte) string { return read(body).Description }},
		},
	})
}
