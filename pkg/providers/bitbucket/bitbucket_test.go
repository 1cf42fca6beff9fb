package bitbucket_test

import (
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/bitbucket"
)

func TestProvider(t *testing.T) {
	t.Parallel()
	bellhoptest.RunProvider(t, bitbucket.Kind, bellhoptest.ProviderOptions{
		Answer: `{"type":"build","key":"x","state":"SUCCESSFUL"}`,
		Answers: []bellhoptest.Answer{
			{Status: 201, Body: `{"type":"build","key":"x","state":"SUCCESSFUL"}`, Want: "accepted"},
			{Status: 200, Body: `{"type":"build","key":"x","state":"FAILED"}`, Want: "accepted"},
			{Status: 200, Body: `<html>Log in</html>`, Want: "retried", Says: "not an answer of Bitbucket"},
			{Status: 200, Body: `{"type":"error","error":{"message":"no"}}`, Want: "retried", Says: "not an answer of Bitbucket"},
			{Status: 400, Body: `{"type":"error","error":{"fields":{"key":["Ensure this value has at most 40 characters (it has 58)."]},"message":"key: Ensure this value has at most 40 characters (it has 58)."}}`, Want: "permanent", Says: "at most 40 characters"},
			{Status: 401, Body: `{"type":"error","error":{"message":"Token is invalid, expired, or not supported for this endpoint."}}`, Want: "permanent", Says: "write a valid token"},
			{Status: 403, Body: `{"type":"error","error":{"message":"Your credentials lack one or more required privilege scopes."}}`, Want: "permanent", Says: "Repositories: Write"},
			{Status: 404, Body: `{"type":"error","error":{"message":"Commit not found"}}`, Want: "permanent", Says: "Commit not found: check the address"},
			{Status: 429, Body: `Rate limit for this resource has been exceeded`, Want: "paused", Pause: 30 * time.Second},
		},
		Limits: []bellhoptest.Limit{ // of asked-push, the first case, whose route asks for a status
			{Name: "name", Max: 255, Unit: httpsend.UTF16, Set: bellhoptest.SetContext, Get: bellhoptest.Text("name")},
			{Name: "description", Max: 255, Unit: httpsend.UTF16, Set: bellhoptest.SetDescription, Get: bellhoptest.Text("description")},
		},
	})
}
