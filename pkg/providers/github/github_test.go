package github_test

import (
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/github"
)

// limit are the headers that GitHub tells its primary limit with.
func limit(remaining, reset string) map[string]string {
	return map[string]string{"X-Ratelimit-Remaining": remaining, "X-Ratelimit-Reset": reset}
}

func TestProvider(t *testing.T) {
	t.Parallel()
	bellhoptest.RunProvider(t, github.Kind, bellhoptest.ProviderOptions{
		Answer: `{"id":1,"state":"success","context":"x"}`,
		Pauses: []int{403},
		Answers: []bellhoptest.Answer{
			{Status: 201, Body: `{"id":1,"state":"success","context":"x"}`, Want: "accepted"},
			// What a proxy or a wrong address answers.
			{Status: 200, Body: `<html>Sign in</html>`, Want: "retried", Says: "not an answer of GitHub"},
			{Status: 200, Body: `{"message":"hello"}`, Want: "retried", Says: "not an answer of GitHub"},
			{Status: 204, Want: "retried", Says: "not an answer of GitHub"},
			// https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit
			{Status: 403, Header: limit("0", "1"), Body: `{"message":"API rate limit exceeded for user ID 1."}`, Want: "paused", Pause: time.Second},
			{Status: 403, Header: limit("0", "99999999999"), Body: `{"message":"API rate limit exceeded for user ID 1."}`, Want: "paused", Pause: time.Hour},
			{Status: 403, Header: limit("0", "soon"), Want: "paused", Pause: time.Minute},
			{Status: 429, Header: limit("0", "1"), Want: "paused", Pause: time.Second},
			{Status: 403, Header: map[string]string{"Retry-After": "17"}, Body: `{"message":"You have exceeded a secondary rate limit."}`, Want: "paused", Pause: 17 * time.Second},
			{Status: 403, Header: limit("4999", "99999999999"), Body: `{"message":"You have exceeded a secondary rate limit. Please wait a few minutes."}`, Want: "paused", Pause: time.Minute},
			{Status: 429, Body: `{"message":"slow down"}`, Want: "paused", Pause: time.Minute},
			{Status: 403, Header: limit("4999", "99999999999"), Body: `{"message":"Resource not accessible by personal access token"}`, Want: "permanent", Says: "Commit statuses: write"},
			{Status: 401, Body: `{"message":"Bad credentials"}`, Want: "permanent", Says: "Bad credentials: write a valid token"},
			{Status: 404, Body: `{"message":"Not Found"}`, Want: "permanent", Says: "check the address"},
			{Status: 422, Body: `{"message":"Validation Failed","errors":["This SHA and context has reached the maximum number of statuses."]}`, Want: "permanent", Says: "no more than 1,000"},
			{Status: 422, Body: `{"message":"Validation Failed","errors":[{"resource":"Status","message":"This SHA and context has reached the maximum number of statuses."}]}`, Want: "permanent", Says: "no more than 1,000"},
			{Status: 422, Body: `{"message":"No commit found for SHA: 731f7ea"}`, Want: "permanent", Says: "no such commit"},
			{Status: 422, Body: `{"message":"Validation Failed","errors":[{"message":"description is too long"}]}`, Want: "permanent", Says: "Validation Failed: description is too long"},
			{Status: 502, Body: `{"message":"Server Error"}`, Want: "retried", Says: "Server Error"},
		},
		Limits: []bellhoptest.Limit{ // of asked-push, the first case, whose route asks for a status
			{Name: "context", Max: 255, Unit: httpsend.UTF16, Set: bellhoptest.SetContext, Get: bellhoptest.Text("context")},
			{Name: "description", Max: 140, Unit: httpsend.UTF16, Set: bellhoptest.SetDescription, Get: bellhoptest.Text("description")},
		},
	})
}
