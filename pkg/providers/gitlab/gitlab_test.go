package gitlab_test

import (
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/gitlab"
)

func TestProvider(t *testing.T) {
	t.Parallel()
	bellhoptest.RunProvider(t, gitlab.Kind, bellhoptest.ProviderOptions{
		Answer: `{"id":1,"status":"success","name":"x"}`,
		Answers: []bellhoptest.Answer{
			{Status: 201, Body: `{"id":1,"sha":"x","status":"success","name":"x"}`, Want: "accepted"},
			{Status: 200, Body: `<html>Sign in</html>`, Want: "retried", Says: "not an answer of GitLab"},
			{Status: 200, Body: `[]`, Want: "retried", Says: "not an answer of GitLab"},
			{Status: 400, Body: `{"message":"Cannot transition status via :enqueue from :pending (Reason(s): Status cannot transition via \"enqueue\")"}`, Want: "accepted"},
			{Status: 400, Body: `{"message":{"name":["is too long"]}}`, Want: "permanent", Says: "is too long"},
			{Status: 400, Body: `{"error":"state does not have a valid value"}`, Want: "permanent", Says: "state does not have a valid value"},
			{Status: 422, Body: `{"message":"Cannot transition status via :enqueue from :pending"}`, Want: "permanent"},
			{Status: 401, Body: `{"message":"401 Unauthorized"}`, Want: "permanent", Says: "write a valid token"},
			{Status: 403, Body: `{"error":"insufficient_scope"}`, Want: "permanent", Says: "scope api"},
			{Status: 404, Body: `{"message":"404 Project Not Found"}`, Want: "permanent", Says: "check the address"},
			{Status: 429, Header: map[string]string{"Ratelimit-Reset": "1"}, Body: "Retry later\n", Want: "paused", Pause: time.Second},
			{Status: 429, Header: map[string]string{"Ratelimit-Reset": "99999999999"}, Want: "paused", Pause: time.Hour},
			{Status: 429, Header: map[string]string{"Ratelimit-Reset": "1", "Retry-After": "33"}, Want: "paused", Pause: 33 * time.Second},
		},
		Limits: []bellhoptest.Limit{ // of asked-push, the first case, whose route asks for a status
			{Name: "name", Max: 255, Unit: httpsend.UTF16, Set: bellhoptest.SetContext, Get: bellhoptest.Text("name")},
			{Name: "description", Max: 255, Unit: httpsend.UTF16, Set: bellhoptest.SetDescription, Get: bellhoptest.Text("description")},
		},
	})
}
