package httpsend

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// How long a provider pauses that asked for it: within these bounds, and so long if it did not say.
const (
	minPause     = time.Second
	maxPause     = time.Hour
	defaultPause = 30 * time.Second
)

// Status is what an answer means by its status alone; see the package comment. The error quotes the answer.
func Status(resp *http.Response, body []byte) error {
	code := resp.StatusCode
	if code >= 200 && code <= 299 {
		return nil
	}
	err := Answered(resp, body)
	switch {
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != "":
		return bellhop.RetryAfter(Pause(resp), err)
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly,
		code >= 500 && code != http.StatusNotImplemented:
		return err
	case code >= 300 && code <= 399:
		return bellhop.Permanent(redirected(resp))
	default:
		return bellhop.Permanent(err)
	}
}

// Answered is an unclassed error that quotes the answer: "answered 404 Not Found: no_service".
func Answered(resp *http.Response, body []byte) error {
	if words := quoted(resp, body); words != "" {
		return fmt.Errorf("answered %s: %s", status(resp), words)
	}
	return fmt.Errorf("answered %s", status(resp))
}

// Advised is a permanent error that says what to do about it, before the vendor's words, which may be long:
// "answered 404 Not Found: make a new webhook (no_service)".
func Advised(resp *http.Response, body []byte, advice string) error {
	if words := quoted(resp, body); words != "" {
		advice += " (" + words + ")"
	}
	return bellhop.Permanent(fmt.Errorf("answered %s: %s", status(resp), advice))
}

// quoted is an answer on one line.
func quoted(resp *http.Response, body []byte) string {
	if mt, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); mt == "text/html" {
		return "an HTML page"
	}
	return OneLine(string(body))
}

// IsAnswer reports whether a body can be that of an API that answers in JSON: an object, or nothing at all, which
// relays leave of it. The page of a proxy that wants somebody to log in is none.
func IsAnswer(body []byte) bool {
	var object map[string]json.RawMessage
	return len(bytes.TrimSpace(body)) == 0 || json.Unmarshal(body, &object) == nil
}

func status(resp *http.Response) string {
	return strings.TrimSpace(strconv.Itoa(resp.StatusCode) + " " + http.StatusText(resp.StatusCode))
}

// Pause is how long the answer's Retry-After, in seconds or as a date, asks to wait: at least a second, at
// most an hour, 30 seconds if there is none that can be read.
// https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
func Pause(resp *http.Response) time.Duration {
	v := strings.TrimSpace(resp.Header.Get("Retry-After"))
	if s, err := strconv.ParseFloat(v, 64); err == nil && s == s { // not a number is not equal to itself
		return time.Duration(min(max(s, minPause.Seconds()), maxPause.Seconds()) * float64(time.Second))
	}
	if at, err := http.ParseTime(v); err == nil {
		return PauseUntil(at)
	}
	return defaultPause
}

// PauseUntil is how long to wait until then, within the bounds of Pause.
func PauseUntil(at time.Time) time.Duration {
	return min(max(time.Until(at), minPause), maxPause)
}

// redirected says where an answer points that is not followed; see NewClient.
func redirected(resp *http.Response) error {
	where := "a redirect"
	if to, err := url.Parse(resp.Header.Get("Location")); err == nil && to.Host != "" {
		where += " to " + origin(to)
	}
	return fmt.Errorf("answered %s, %s that is not followed: write the final address", status(resp), where)
}
