package slack

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// TestAnswers holds the classes of Slack's own answers, which a status does not tell.
func TestAnswers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		status     int
		body       string
		webhook    string // what a webhook's answer means: accepted, paused, retried, permanent
		method     string // what a method's answer means
		mustAdvise bool
	}{
		{200, "ok", "accepted", "retried", false},
		{200, `{"ok":true,"ts":"1.2"}`, "accepted", "accepted", false},
		{200, `{"ok":true,"warning":"missing_charset"}`, "accepted", "accepted", false},
		{200, `{"success":true}`, "accepted", "retried", false},
		{200, "<html>log in</html>", "accepted", "retried", false},
		{200, `{"ok":false,"error":"invalid_auth"}`, "permanent", "permanent", true},
		{200, `{"ok":false,"error":"channel_not_found"}`, "permanent", "permanent", true},
		{200, `{"ok":false,"error":"not_in_channel"}`, "permanent", "permanent", true},
		{200, `{"ok":false,"error":"is_archived"}`, "permanent", "permanent", true},
		{200, `{"ok":false,"error":"msg_blocks_too_long"}`, "permanent", "permanent", false},
		{200, `{"ok":false,"error":"ratelimited"}`, "paused", "paused", false},
		{200, `{"ok":false,"error":"internal_error"}`, "retried", "retried", false},
		{200, `{"ok":false,"error":"service_unavailable"}`, "retried", "retried", false},
		{200, `{"ok":false}`, "retried", "retried", false},
		{400, "invalid_payload", "permanent", "permanent", true},
		{403, "action_prohibited", "permanent", "permanent", true},
		{403, "invalid_token", "permanent", "permanent", true},
		{404, "no_service", "permanent", "permanent", true},
		{404, "channel_not_found\n", "permanent", "permanent", true},
		{410, "channel_is_archived", "permanent", "permanent", true},
		{500, "no_text", "permanent", "permanent", true},
		{500, "rollup_error", "retried", "retried", false},
		{500, `{"ok":false,"error":"fatal_error"}`, "retried", "retried", false},
		{401, `{"ok":false,"error":"token_revoked"}`, "permanent", "permanent", true},
		{429, "", "paused", "paused", false},
		{429, `{"ok":false,"error":"ratelimited"}`, "paused", "paused", false},
	} {
		for api, want := range map[bool]string{false: tc.webhook, true: tc.method} {
			resp := &http.Response{StatusCode: tc.status, Header: http.Header{"Retry-After": {"7"}}, Body: io.NopCloser(strings.NewReader(""))}
			err := provider{api: api}.Judge(resp, []byte(tc.body))
			got := "retried"
			d, paused := bellhop.RetryDelay(err)
			switch {
			case err == nil:
				got = "accepted"
			case paused:
				got = "paused"
				if d != 7*time.Second {
					t.Errorf("%d %s pauses for %v", tc.status, tc.body, d)
				}
			case bellhop.IsPermanent(err):
				got = "permanent"
			}
			if got != want {
				t.Errorf("%d %s, of a method %t: %s (%v), want %s", tc.status, tc.body, api, got, err, want)
			}
			if tc.mustAdvise && strings.Count(err.Error(), ": ") == 0 {
				t.Errorf("%d %s: %v does not say what to do", tc.status, tc.body, err)
			}
		}
	}
}
