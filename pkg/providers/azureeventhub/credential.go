package azureeventhub

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// target is an event hub and what opens it: a connection string or a token.
type target struct {
	host string // the namespace's, with a port if it is not the usual one
	hub  string
	// connection is a connection string for the SDK, which ends it with an EntityPath or is told the hub.
	connection string
	inString   bool // the connection string names the hub
	// plain: a local emulator, which speaks no TLS.
	plain bool

	token string
	// lapses is when the token or the signature of the connection string does; zero if never, or not known.
	lapses time.Time
	// renewed says what to renew then.
	renewed string

	// secrets must not be seen.
	secrets []bellhop.Secret
}

// read finds the target in the settings.
func read(s Settings) (target, bellhop.Problems) {
	address := s.Address.RevealString()
	switch {
	case address == "":
		return target{}, bellhop.Problems{bellhop.Wrong("address", "is missing: write the connection string, or the event hub's name beside a token, "+
			"under the key address of the Secret named by secretRef")}
	case strings.Contains(address, "="):
		return readConnection(s, address)
	}
	return readToken(s, address)
}

const connectionExample = "Endpoint=sb://NAMESPACE.servicebus.windows.net/;SharedAccessKeyName=NAME;SharedAccessKey=KEY;EntityPath=HUB"

// https://learn.microsoft.com/azure/event-hubs/event-hubs-get-connection-string
func readConnection(s Settings, address string) (target, bellhop.Problems) {
	wrong := func(path, format string, args ...any) (target, bellhop.Problems) {
		return target{}, bellhop.Problems{bellhop.Wrong(path, format, args...)}
	}
	// The SDK's error may show a piece of the string.
	cs, err := azeventhubs.ParseConnectionString(address)
	value := func(p *string) string {
		if p == nil {
			return ""
		}
		return strings.TrimSpace(*p)
	}
	key, name, signature := value(cs.SharedAccessKey), value(cs.SharedAccessKeyName), value(cs.SharedAccessSignature)
	switch {
	case err != nil || signature == "" && (key == "" || name == ""):
		return wrong("address", "is no whole connection string: write %s, as the Azure portal shows it", connectionExample)
	case !s.Token.Empty():
		return wrong("token", "is set beside a connection string, which brings its own key: remove one of the two")
	}
	t := target{
		host: cs.FullyQualifiedNamespace, connection: address, plain: cs.Emulator,
		secrets: []bellhop.Secret{s.Address, secret(key), secret(signature)},
	}
	var problems bellhop.Problems
	channel := strings.TrimSpace(s.Channel)
	switch path := value(cs.EntityPath); {
	case path != "":
		t.hub, t.inString = path, true
		if channel != "" && channel != path {
			problems = append(problems, bellhop.Doubtful("channel", "is not used: the connection string's EntityPath names the event hub"))
		}
	case cs.EntityPath != nil:
		return wrong("address", "the connection string's EntityPath is empty: write the event hub's name")
	case channel != "":
		t.hub = channel
	default:
		return wrong("address", "the connection string is a namespace's and names no event hub: add ;EntityPath=HUB to it, or write the event hub's name as channel")
	}
	if signature != "" {
		t.lapses, t.renewed = signatureExpiry(signature), "the shared access signature"
	}
	if cs.Emulator {
		if host, _, _ := strings.Cut(t.host, ":"); host != "localhost" && host != "127.0.0.1" {
			problems = append(problems, bellhop.Doubtful("address", "UseDevelopmentEmulator sends without TLS: messages and credentials can be read on the way"))
		}
	}
	return t, append(problems, t.check(s)...)
}

func readToken(s Settings, hub string) (target, bellhop.Problems) {
	token := s.Token.RevealString()
	var problems bellhop.Problems
	if token == "" {
		problems = append(problems, bellhop.Wrong("token", "is missing: the address is an event hub's name, so write a JWT under the key token of the Secret "+
			"named by secretRef, or a connection string as the address: %s", connectionExample))
	}
	host := strings.TrimSpace(s.Channel)
	switch {
	case host == "":
		problems = append(problems, bellhop.Wrong("channel", "is missing: write the namespace of the event hub, such as my-namespace"))
	case !strings.ContainsAny(host, ".:"):
		host += ".servicebus.windows.net"
	}
	if len(problems) > 0 {
		return target{}, problems
	}
	t := target{host: host, hub: hub, token: token, renewed: "the token", secrets: []bellhop.Secret{s.Token}}
	var ok bool
	if t.lapses, ok = tokenExpiry(token); !ok {
		problems = append(problems, bellhop.Doubtful("token", "is no JWT: Azure will refuse it; write an access token for https://eventhubs.azure.net"))
	}
	return t, append(problems, t.check(s)...)
}

// check is what both ways have in common.
func (t target) check(s Settings) bellhop.Problems {
	var problems bellhop.Problems
	where := "address"
	if t.token != "" {
		where = "channel"
	}
	if u, err := url.Parse("sb://" + t.host + "/"); err != nil || u.Host != t.host || u.Hostname() == "" || u.User != nil {
		problems = append(problems, bellhop.Wrong(where, "the namespace is no host: write its name, such as my-namespace or my-namespace.servicebus.windows.net"))
	}
	if !hubName(t.hub) {
		if where = "address"; t.connection != "" && !t.inString {
			where = "channel"
		}
		problems = append(problems, bellhop.Wrong(where, "the event hub's name holds other characters than letters, digits, dots, dashes and underscores"))
	}
	if err := t.lapsed(time.Now()); err != nil {
		if where = "address"; !s.Token.Empty() {
			where = "token"
		}
		problems = append(problems, bellhop.Doubtful(where, "%v", err))
	}
	return problems
}

// https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules#microsofteventhub
func hubName(s string) bool {
	return s != "" && len(s) <= 256 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune("._-", r)
	})
}

// address is host:port of the namespace's AMQP.
func (t target) address() string {
	if _, _, err := net.SplitHostPort(t.host); err == nil {
		return t.host
	}
	port := "5671"
	if t.plain {
		port = "5672"
	}
	return net.JoinHostPort(strings.Trim(t.host, "[]"), port)
}

// lapse is a credential that is over. It is the SDK's sign not to try again: only a new one heals it.
type lapse struct {
	what string
	at   time.Time
}

func (l *lapse) Error() string {
	return fmt.Sprintf("%s expired at %s: put a new one into the Secret", l.what, l.at.UTC().Format(time.RFC3339))
}

// NonRetriable marks the error for the SDK.
func (*lapse) NonRetriable() {}

func (t target) lapsed(now time.Time) error {
	if t.lapses.IsZero() || now.Before(t.lapses) {
		return nil
	}
	return &lapse{t.renewed, t.lapses}
}

// GetToken hands the SDK the one token that there is.
func (t target) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if err := t.lapsed(time.Now()); err != nil {
		return azcore.AccessToken{}, err
	}
	until := t.lapses
	if until.IsZero() {
		// The SDK hands it over once more by then.
		until = time.Now().Add(time.Hour)
	}
	return azcore.AccessToken{Token: t.token, ExpiresOn: until}, nil
}

// tokenExpiry is the claim exp of a JWT, zero if it has none; ok is false if it is no JWT. Nothing is verified:
// that is Azure's to do.
// https://www.rfc-editor.org/rfc/rfc7519#section-4.1.4
func tokenExpiry(token string) (at time.Time, ok bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return time.Time{}, false
	}
	var claims struct {
		Expires float64 `json:"exp"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return time.Time{}, false
	}
	return unix(claims.Expires), true
}

// signatureExpiry is the field se of a shared access signature, zero if it has none.
// https://learn.microsoft.com/rest/api/eventhub/generate-sas-token
func signatureExpiry(signature string) time.Time {
	_, fields, _ := strings.Cut(signature, " ")
	for f := range strings.SplitSeq(fields, "&") {
		if se, ok := strings.CutPrefix(f, "se="); ok {
			if seconds, err := strconv.ParseFloat(se, 64); err == nil {
				return unix(seconds)
			}
		}
	}
	return time.Time{}
}

// unix is a time in seconds since 1970, zero for what cannot be meant.
func unix(seconds float64) time.Time {
	if !(seconds > 0 && seconds < 1<<40) {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0)
}

func secret(s string) bellhop.Secret { return bellhop.NewSecret([]byte(s)) }
