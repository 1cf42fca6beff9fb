package github

import (
	"net/http"
	"strings"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/internal/commitstatus"
)

// secondaryPause is how long GitHub asks to wait if it does not say.
const secondaryPause = time.Minute

// limit is the pause that a rate limit asks for, false if the answer is not one. GitHub says 403 as well as
// 429: with Retry-After, with no requests remaining until a reset, or in words alone.
// https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit
func limit(resp *http.Response, body []byte) (time.Duration, bool) {
	if resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusTooManyRequests {
		return 0, false
	}
	if resp.Header.Get("Retry-After") != "" {
		return httpsend.Pause(resp), true
	}
	if strings.TrimSpace(resp.Header.Get("X-Ratelimit-Remaining")) == "0" {
		if d, ok := commitstatus.ResetPause(resp, "X-Ratelimit-Reset"); ok {
			return d, true
		}
		return secondaryPause, true
	}
	words := strings.ToLower(commitstatus.Words(body))
	limited := resp.StatusCode == http.StatusTooManyRequests || strings.Contains(words, "rate limit") || strings.Contains(words, "abuse detection")
	return secondaryPause, limited
}

// judge classes an answer of an API of GitHub's.
func judge(api commitstatus.API, resp *http.Response, body []byte) error {
	err := api.Judge(resp, body)
	if d, limited := limit(resp, body); limited {
		return bellhop.RetryAfter(d, err)
	}
	return err
}
