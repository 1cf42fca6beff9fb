package bitbucketserver_test

import (
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/bitbucketserver"
)

func TestProvider(t *testing.T) {
	t.Parallel()
	bellhoptest.RunProvider(t, bitbucketserver.Kind, bellhoptest.ProviderOptions{

		Answers: []bellhoptest.Answer{
			{Status: 204, Want: "accepted"},
			{Status: 200, Body: `<html>Log in</html>`, Want: "retried", Says: "not an answer of Bitbucket"},
			{Status: 200, Body: `{"errors":[{"message":"no"}]}`, Want: "retried", Says: "not an answer of Bitbucket"},
			{Status: 400, Body: `{"errors":[{"context":"key","message":"Must not exceed 255 characters."}]}`, Want: "permanent", Says: "Must not exceed"},
			{Status: 401, Body: `{"errors":[{"message":"Authentication failed."}]}`, Want: "permanent", Says: "write a valid token"},
			{Status: 403, Body: `{"errors":[{"message":"XSRF check failed"}]}`, Want: "permanent", Says: "XSRF check failed"},
			{Status: 404, Body: `{"errors":[{"message":"Commit does not exist"}]}`, Want: "permanent", Says: "check the address"},
			{Status: 429, Header: map[string]string{"Retry-After": "5"}, Want: "paused", Pause: 5 * time.Second},
		},
		Limits: []bellhoptest.Limit{ // of asked-push, the first case, whose route asks for a status
			{Name: "key", Max: 255, Unit: httpsend.UTF16, Set: bellhoptest.SetContext, Get: bellhoptest.Text("key")},
			{Name: "name", Max: 255, Unit: httpsend.UTF16, Set: bellhoptest.SetContext, Get: bellhoptest.Text("name")},
			{Name: "description", Max: 255, Unit: httpsend.UTF16, Set: bellhoptest.SetDescription, Get: bellhoptest.Text("description")},
		},
	})
}
