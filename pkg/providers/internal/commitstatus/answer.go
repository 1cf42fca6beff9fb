package commitstatus

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
)

// API is what a git host's answers look like.
type API struct {
	// Name is the host's software, such as "GitHub".
	Name string
	// Created is a key that the JSON of a success has. Empty: success has no body. Who answers 201 Created is
	// believed without, unless he says that something is wrong: no login page does that.
	Created string
	// Advice says what to do about a status that does not heal, for an administrator.
	Advice map[int]string
}

// Judge is httpsend.Status with the host's own words and advice. A 2xx that is not the API's (a proxy's login
// page) is an error.
func (a API) Judge(resp *http.Response, body []byte) error {
	said := body
	if words := Words(body); words != "" {
		said = []byte(httpsend.Cut(words, maxWords, httpsend.Runes)) // the advice is to fit too
	}
	err := httpsend.Status(resp, said)
	switch {
	case err == nil && !a.created(resp.StatusCode, body):
		return fmt.Errorf("%w, which is not an answer of %s: check the address", httpsend.Answered(resp, said), a.Name)
	case err != nil && a.Advice[resp.StatusCode] != "":
		return fmt.Errorf("%w: %s", err, a.Advice[resp.StatusCode])
	}
	return err
}

// maxWords is how much of a host's own words is quoted.
const maxWords = 70

func (a API) created(status int, body []byte) bool {
	var answer map[string]json.RawMessage
	empty := strings.TrimSpace(string(body)) == ""
	switch object := json.Unmarshal(body, &answer) == nil; {
	case status == http.StatusCreated && (empty || object && Words(body) == ""):
		return true
	case a.Created == "":
		return empty
	default:
		return object && len(answer[a.Created]) > 0
	}
}

// Words are what a git host says in the JSON of an error; empty if it says nothing that way. GitHub and Azure
// DevOps say message, GitHub in errors as well; Bitbucket Cloud error.message; Bitbucket Data Center
// errors[].message; Gitea message; GitLab message, a text or texts by field, or error.
func Words(body []byte) string {
	var answer struct {
		Message json.RawMessage `json:"message"`
		Error   json.RawMessage `json:"error"`
		Errors  json.RawMessage `json:"errors"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return ""
	}
	var words []string
	for _, part := range []json.RawMessage{answer.Message, answer.Error, answer.Errors} {
		if w := wordsIn(part); w != "" {
			words = append(words, w)
		}
	}
	return strings.Join(words, ": ")
}

// wordsIn are the words in one part of an error: a text, {"message": text}, a list of these, or else its JSON.
func wordsIn(part json.RawMessage) string {
	var text string
	var object struct {
		Message string `json:"message"`
	}
	var list []json.RawMessage
	switch {
	case len(part) == 0 || string(part) == "null":
		return ""
	case json.Unmarshal(part, &text) == nil:
		return text
	case json.Unmarshal(part, &object) == nil && object.Message != "":
		return object.Message
	case json.Unmarshal(part, &list) == nil:
		var words []string
		for _, p := range list {
			if w := wordsIn(p); w != "" {
				words = append(words, w)
			}
		}
		return strings.Join(words, ", ")
	}
	return string(part)
}

// ResetPause is the pause that a header asks for which tells, in seconds since 1970, when a limit is lifted;
// false if there is none.
func ResetPause(resp *http.Response, header string) (time.Duration, bool) {
	at, err := strconv.ParseInt(strings.TrimSpace(resp.Header.Get(header)), 10, 64)
	if err != nil || at <= 0 {
		return 0, false
	}
	return httpsend.PauseUntil(time.Unix(at, 0)), true
}

// CheckToken is what is wrong with a token that goes into a header: it is missing, which is answered with advice,
// or no header can carry it.
func CheckToken(token bellhop.Secret, advice string) bellhop.Problems {
	switch text := token.RevealString(); {
	case text == "":
		return bellhop.Problems{bellhop.Wrong("token", "is missing: %s", advice)}
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7F }):
		return bellhop.Problems{bellhop.Wrong("token", "holds a space, a line break or another character that no header can carry: write the token and nothing else")}
	}
	return nil
}
