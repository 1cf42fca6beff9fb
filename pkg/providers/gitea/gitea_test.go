package gitea_test

import (
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/gitea"
)

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
		Limits: []bellhoptest.Limit{ // of asked-push, the first case, whose route asks for a status
			{Name: "context", Max: 255, Unit: httpsend.UTF16, Set: bellhoptest.SetContext, Get: bellhoptest.Text("context")},
			{Name: "description", Max: 255, Unit: httpsend.UTF16, Set: bellhoptest.SetDescription, Get: bellhoptest.Text("description")},
		},
	})
}
