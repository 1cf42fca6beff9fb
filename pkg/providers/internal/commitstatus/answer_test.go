package commitstatus

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

func TestWords(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"message":"Bad credentials","documentation_url":"x"}`:                         "Bad credentials",
		`{"message":"Validation Failed","errors":[{"code":"custom","message":"long"}]}`: "Validation Failed: long",
		`{"message":{"description":["is too long"]}}`:                                   `{"description":["is too long"]}`,
		`{"error":"insufficient_scope"}`:                                                "insufficient_scope",
		`{"type":"error","error":{"message":"Resource not found","detail":"x"}}`:        "Resource not found",
		`{"errors":[{"context":null,"message":"No such"},{"message":"And"}]}`:           "No such, And",
		`{"errors":null,"message":null}`:                                                "",
		`<html>`:                                                                        "",
		`[]`:                                                                            "",
		``:                                                                              "",
	} {
		if got := Words([]byte(in)); got != want {
			t.Errorf("%s says %q, want %q", in, got, want)
		}
	}
}

func TestAdviceFits(t *testing.T) {
	t.Parallel()
	api := API{Name: "Git", Created: "context", Advice: map[int]string{404: "look at the address"}}
	long := `{"message":"` + strings.Repeat("é", 5000) + `"}`
	err := api.Judge(&http.Response{StatusCode: 404, Header: http.Header{}}, []byte(long))
	if !bellhop.IsPermanent(err) || !strings.HasSuffix(err.Error(), ": look at the address") || len([]rune(err.Error())) > 150 {
		t.Errorf("got %v", err)
	}
}

func TestSuccess(t *testing.T) {
	t.Parallel()
	created, empty := API{Name: "Git", Created: "context"}, API{Name: "Git"}
	for _, tc := range []struct {
		api    API
		status int
		body   string
		ok     bool
	}{
		{created, 200, `{"context":"x"}`, true}, {created, 200, `{"id":1}`, false}, {created, 200, `{"message":"x"}`, false},
		{created, 200, `[{"context":"x"}]`, false}, {created, 200, `<html>`, false}, {created, 200, ``, false}, {created, 200, `{"context":`, false},
		{created, 201, `{"context":"x"}`, true}, {created, 201, `{"id":1}`, true}, {created, 201, ``, true},
		{created, 201, `{"message":"x"}`, false}, {created, 201, `<html>`, false}, {created, 201, `[]`, false},
		{empty, 204, ``, true}, {empty, 200, `<html>`, false}, {empty, 200, `{}`, false},
	} {
		err := tc.api.Judge(&http.Response{StatusCode: tc.status, Header: http.Header{}}, []byte(tc.body))
		if (err == nil) != tc.ok || bellhop.IsPermanent(err) {
			t.Errorf("%d %q: %v", tc.status, tc.body, err)
		}
	}
}

func TestResetPause(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for value, bounds := range map[string][2]time.Duration{
		strconv.FormatInt(now.Add(10*time.Minute).Unix(), 10): {9 * time.Minute, 10 * time.Minute},
		strconv.FormatInt(now.Add(-time.Hour).Unix(), 10):     {time.Second, time.Second},
		strconv.FormatInt(now.Add(240*time.Hour).Unix(), 10):  {time.Hour, time.Hour},
		"": {}, "soon": {}, "-1": {}, "0": {}, "99999999999999999999": {},
	} {
		d, ok := ResetPause(&http.Response{Header: http.Header{"X-Reset": {value}}}, "X-Reset")
		if ok != (bounds[1] > 0) || d < bounds[0] || d > bounds[1] {
			t.Errorf("%q pauses for %v, %t", value, d, ok)
		}
	}
}
