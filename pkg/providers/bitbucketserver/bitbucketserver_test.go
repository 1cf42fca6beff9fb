package bitbucketserver_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/bitbucketserver"
)

// status is what the limits are found in.
type status struct {
	Key         string `json:"key"`
	Name        string `json:"name"`
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
		Limits: []bellhoptest.Limit{
			{Name: "key", Max: 255, Unit: httpsend.UTF16, Set: setContext, Get: func(body []byte) string { return read(body).Key }},
			{Name: "name", Max: 255, Unit: httpsend.UTF16, Set: setContext, Get: func(body []byte) string { return read(body).Name }},
			{Name: "description", Max: 255, Unit: httpsend.UTF16, Set: setDescription, Get: func(body []byte) string { return read(body).Description }},
		},
	})
}
