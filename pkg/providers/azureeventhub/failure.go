package azureeventhub

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/go-amqp"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// How long the provider pauses. Azure tells a busy client to wait ten seconds; what is at its limit takes longer.
// https://learn.microsoft.com/azure/event-hubs/event-hubs-messaging-exceptions
const (
	busyPause  = 10 * time.Second
	limitPause = 30 * time.Second
)

// Conditions of errors that AMQP does not define.
// https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-troubleshoot
const (
	serverBusy       = "com.microsoft:server-busy"
	argumentError    = "com.microsoft:argument-error"
	argumentRange    = "com.microsoft:argument-out-of-range"
	entityDisabled   = "com.microsoft:entity-disabled"
	publisherRevoked = "com.microsoft:publisher-revoked"
)

// certificateRequired comes with the first answer after a handshake of TLS 1.3, when the SDK has the connection.
// https://www.rfc-editor.org/rfc/rfc8446#section-6.2
const certificateRequired = tls.AlertError(116)

// answer is an error in Azure's words.
type answer struct {
	condition string // such as amqp:not-found; empty if there is none
	text      string
}

func (a answer) Error() string {
	return strings.TrimPrefix(strings.TrimSuffix(a.condition+": "+a.text, ": "), ": ")
}

// failed classes an error of the SDK; see the package comment.
func (p *provider) failed(ctx context.Context, err error) error {
	return fmt.Errorf("sending to the event hub %s of %s: %w", p.target.hub, p.target.host, p.class(ctx, err))
}

func (p *provider) class(ctx context.Context, err error) error {
	if lapsed, ok := errors.AsType[*lapse](err); ok {
		return lapsed
	}
	if ctx.Err() != nil {
		return p.transport.Broken(ctx, err)
	}
	if p.closed.Load() {
		return fmt.Errorf("the provider was closed: %w", bellhop.ErrStopping)
	}
	if broken, ok := errors.AsType[*undialled](err); ok {
		return p.transport.Broken(ctx, broken.error)
	}
	a, ok := answerOf(err)
	switch {
	case !ok && strings.Contains(a.text, certificateRequired.Error()):
		return p.transport.Broken(ctx, certificateRequired)
	case !ok:
		return p.transport.Broken(ctx, errors.New(a.text))
	}
	return p.transport.Answered(p.judge(a))
}

func (p *provider) judge(a answer) error {
	switch amqp.ErrCond(a.condition) {
	case amqp.ErrCondUnauthorizedAccess, publisherRevoked:
		if p.target.token != "" {
			// Whoever renews the token may be late, and roles take minutes to be known everywhere.
			return fmt.Errorf("%w: the token must be an unexpired one for https://eventhubs.azure.net, of an application with the role Azure Event Hubs Data Sender", a)
		}
		return bellhop.Permanent(fmt.Errorf("%w: the connection string must be of a policy that may send, with a present key", a))
	case amqp.ErrCondNotFound:
		return bellhop.Permanent(fmt.Errorf("%w: the namespace has no such event hub: write the name of one that is there", a))
	case amqp.ErrCondMessageSizeExceeded:
		return bellhop.Permanent(fmt.Errorf("%w: the event is larger than the event hub takes", a))
	case amqp.ErrCondNotAllowed, amqp.ErrCondNotImplemented, amqp.ErrCondDecodeError, amqp.ErrCondInvalidField, argumentError, argumentRange:
		return bellhop.Permanent(a)
	case serverBusy:
		return bellhop.RetryAfter(busyPause, a)
	case amqp.ErrCondResourceLimitExceeded:
		return bellhop.RetryAfter(limitPause, a)
	case entityDisabled:
		return fmt.Errorf("%w: enable the event hub", a)
	}
	return a
}

// answerOf finds Azure's words in an error of the SDK; ok is false if it is of the connection alone, and the text
// is the error's then.
func answerOf(err error) (a answer, ok bool) {
	if e, ok := errors.AsType[*amqp.Error](err); ok {
		return answer{string(e.Condition), hidden(e.Description)}, true
	}
	text := err.Error()
	var rpc interface{ RPCCode() int }
	if errors.As(err, &rpc) {
		return answer{rpcCondition(rpc.RPCCode()), hidden(text)}, true
	}
	if e, ok := errors.AsType[*azeventhubs.Error](err); ok {
		// It does not unwrap, so its text is all there is of the condition.
		text = strings.TrimPrefix(text, "("+string(e.Code)+"): ")
		if m := remote.FindStringSubmatch(text); m != nil {
			return answer{m[1], hidden(m[2])}, true
		}
		if m := rpcFailed.FindStringSubmatch(text); m != nil {
			code, _ := strconv.Atoi(m[1])
			return answer{rpcCondition(code), hidden(cmp.Or(m[2], text))}, true
		}
		if e.Code == azeventhubs.ErrorCodeUnauthorizedAccess {
			return answer{string(amqp.ErrCondUnauthorizedAccess), hidden(text)}, true
		}
		text = "the connection was lost: " + text
	}
	return answer{text: hidden(text)}, false
}

// What the SDK makes of an AMQP error, and of an answer of the node that takes tokens.
var (
	remote    = regexp.MustCompile(`(?s)\*Error\{Condition: (\S*), Description: (.*), Info: `)
	rpcFailed = regexp.MustCompile(`(?s)rpc: failed, status code (\d+) and description: (.*)`)
)

// rpcCondition is the condition that a status of the node that takes tokens stands for.
// https://docs.oasis-open.org/amqp/amqp-cbs/v1.0/csd01/amqp-cbs-v1.0-csd01.html
func rpcCondition(status int) string {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return string(amqp.ErrCondUnauthorizedAccess)
	case http.StatusNotFound:
		return string(amqp.ErrCondNotFound)
	case http.StatusBadRequest:
		return argumentError
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return serverBusy
	}
	return ""
}

// signed is the part of a shared access signature that opens doors. It is made anew for each connection, so that
// no list of secrets has it.
var signed = regexp.MustCompile(`\bsig=[^&\s"';,]*`)

func hidden(text string) string { return signed.ReplaceAllString(text, "sig=<secret>") }
