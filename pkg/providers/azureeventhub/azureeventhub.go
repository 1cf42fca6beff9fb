// Package azureeventhub sends events to an Azure event hub, over AMQP with Microsoft's SDK.
//
// # Setting it up
//
// With a connection string: in the Azure portal open the event hub, Shared access policies, add a policy with the
// claim Send alone, and copy its connection string into the Secret's key address:
//
//	providers:
//	- name: hub
//	  type: azureeventhub
//	  secretRef: {name: hub}
//
//	kubectl create secret generic hub --from-literal=address='Endpoint=sb://fluxv2.servicebus.windows.net/;SharedAccessKeyName=send;SharedAccessKey=…;EntityPath=flux'
//
// A policy of the namespace rather than of the event hub makes a string without EntityPath: write the event hub's
// name as channel then.
//
// With a token: channel is the namespace (fluxv2 for fluxv2.servicebus.windows.net, or the whole host, such as one
// in another cloud), and the Secret holds address, the event hub's name, and token, a JWT of Microsoft Entra ID for
// the resource https://eventhubs.azure.net, whose application has the role Azure Event Hubs Data Sender. Bellhop
// does not renew it: whatever does so writes the new one into the Secret, which is picked up without a restart.
// While the token is expired, deliveries wait and are tried again; so it is with a SharedAccessSignature in a
// connection string.
//
// # What is sent
//
// One message an event: the event as Flux's notification-controller would post it, as JSON, made up for events that
// are not Flux's as the type generic says. The message id is the event's, and stays the same when a delivery is
// tried again, so that a consumer can tell a repetition. The application properties kind, endpoint and source are
// the event's. The partition key is what the event is about (pull request, repository, image or object, else the
// endpoint), so that a consumer sees events of one thing in the order in which they were sent.
//
// An event that is larger than the event hub takes (256 KB in the Basic tier, else 1 MB) goes dead.
//
// # The way there
//
// One connection is kept over all deliveries: AMQP over TLS to port 5671, or, if the settings or the environment
// name a proxy for the namespace's host, AMQP over a WebSocket to port 443 through the proxy. ca.crt, tls.crt and
// tls.key of certSecretRef hold for both. A connection string with UseDevelopmentEmulator=true goes to a local
// emulator, without TLS and past any proxy.
//
// # What an error means
//
// Accepted is what the event hub accepted. Refused credentials are permanent with a connection string, and tried
// again with a token, which somebody else renews. An event hub that is not there, an event that is too large or
// malformed are permanent. A busy server pauses the provider for ten seconds, a reached quota for thirty. All else,
// such as a detached link or a lost connection, is tried again.
package azureeventhub

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/coder/websocket"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/providers/internal/parts"
)

// Settings of a provider.
type Settings struct {
	Channel string         `yaml:"channel" doc:"with a token the namespace; with a connection string the event hub, unless the string names it"`
	Address bellhop.Secret `yaml:"address" secret:"address" doc:"connection string; or, with a token, the event hub's name"`
	Token   bellhop.Secret `secret:"token" doc:"JWT for https://eventhubs.azure.net, instead of a connection string"`
}

// Kind sends to an Azure event hub.
var Kind = bellhop.Define("azureeventhub", "Azure Event Hubs: Flux's event JSON over AMQP", Settings{}, build)

// The SDK tries once more by itself: at once if the link was lost between two deliveries, else after a second.
// Everything beyond is the notifier's to repeat, which counts and reports it. Without that second (-1) the SDK would
// renew its token in a tight loop while Azure is in trouble.
var retries = azeventhubs.RetryOptions{MaxRetries: 1, RetryDelay: time.Second, MaxRetryDelay: time.Second}

// closing is how long the event hub has to say good-bye.
const closing = 5 * time.Second

func build(setup bellhop.Setup, s Settings) (bellhop.Provider, error) {
	t, problems := read(s)
	if problems.Err() != nil {
		return nil, problems
	}
	if setup.Client == nil {
		client, err := httpsend.NewClient(httpsend.Options{})
		if err != nil {
			return nil, err
		}
		setup.Client = client
	}
	p := &provider{target: t, web: setup.Client, transport: httpsend.TransportOf(setup.Client, t.secrets...)}
	// The option is meant for WebSockets, but takes any connection: this is how the SDK goes out by our rules.
	options := &azeventhubs.ProducerClientOptions{ApplicationID: "bellhop", NewWebSocketConn: p.dial, RetryOptions: retries}
	var err error
	switch {
	case t.token != "":
		p.client, err = azeventhubs.NewProducerClient(t.host, t.hub, t, options)
	case t.inString:
		p.client, err = azeventhubs.NewProducerClientFromConnectionString(t.connection, "", options)
	default:
		p.client, err = azeventhubs.NewProducerClientFromConnectionString(t.connection, t.hub, options)
	}
	switch {
	case err != nil:
		return nil, append(problems, bellhop.Wrong("address", "%v", p.transport.Answered(err)))
	case len(problems) > 0:
		return p, problems
	}
	return p, nil
}

type provider struct {
	target    target
	web       *http.Client
	transport *httpsend.Transport
	// client connects when it is first used.
	client *azeventhubs.ProducerClient
	closed atomic.Bool
}

// Close ends the connection.
func (p *provider) Close() error {
	if p.closed.Swap(true) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	if err := p.client.Close(ctx); err != nil {
		return fmt.Errorf("closing the connection to %s: %w", p.target.host, p.transport.Answered(err))
	}
	return nil
}

func (p *provider) Send(ctx context.Context, e *bellhop.Event) error {
	if err := p.target.lapsed(time.Now()); err != nil {
		return p.failed(ctx, err)
	}
	message, key, err := compose(e)
	if err != nil {
		return bellhop.Permanent(err)
	}
	// This is what connects, and learns how large a message may be.
	batch, err := p.client.NewEventDataBatch(ctx, &azeventhubs.EventDataBatchOptions{PartitionKey: key})
	if err != nil {
		return p.failed(ctx, err)
	}
	if err := batch.AddEventData(message, nil); err != nil {
		if errors.Is(err, azeventhubs.ErrEventDataTooLarge) {
			err = fmt.Errorf("the event is too large: its JSON has %d bytes, and a message of this event hub holds less", len(message.Body))
		}
		return bellhop.Permanent(p.failed(ctx, err))
	}
	// The SDK would take "released" and "modified" for accepted; event hubs accept or reject what is sent to them.
	if err := p.client.SendEventDataBatch(ctx, batch, nil); err != nil {
		return p.failed(ctx, err)
	}
	return nil
}

// compose makes the message and its partition key, nil if the event is about nothing.
// https://learn.microsoft.com/azure/event-hubs/event-hubs-amqp-protocol-guide
func compose(e *bellhop.Event) (*azeventhubs.EventData, *string, error) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e.FluxObject()); err != nil {
		return nil, nil, fmt.Errorf("encoding the event: %w", err)
	}
	contentType := "application/json"
	m := &azeventhubs.EventData{Body: bytes.TrimSuffix(body.Bytes(), []byte("\n")), ContentType: &contentType, Properties: map[string]any{}}
	if id := text(e.ID); id != "" {
		m.MessageID = &id
	}
	for name, value := range map[string]string{"kind": string(e.Kind), "endpoint": e.Endpoint, "source": e.Source} {
		if value != "" {
			m.Properties[name] = text(value)
		}
	}
	if key := partitionKey(e); key != "" {
		return m, &key, nil
	}
	return m, nil, nil
}

// maxPartitionKey is in characters.
// https://learn.microsoft.com/azure/event-hubs/event-hubs-quotas
const maxPartitionKey = 128

// partitionKey is what an event is about. Two that are equal in their beginning may share a partition.
func partitionKey(e *bellhop.Event) string {
	key := cmp.Or(parts.Subject(e), e.Endpoint)
	return httpsend.Cut(text(key), maxPartitionKey, httpsend.UTF16)
}

// text is what AMQP takes as a string.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// undialled is an error of connecting. The SDK leaves it alone: the notifier decides when to try again.
type undialled struct{ error }

// NonRetriable marks the error for the SDK.
func (*undialled) NonRetriable() {}

// dial connects to the namespace: straight, or with a WebSocket if there is a proxy on the way.
func (p *provider) dial(ctx context.Context, params azeventhubs.WebSocketConnParams) (net.Conn, error) {
	conn, err := p.connect(ctx, params.Host)
	if err != nil {
		return nil, &undialled{err}
	}
	return conn, nil
}

func (p *provider) connect(ctx context.Context, address string) (net.Conn, error) {
	if p.target.plain {
		return p.transport.Dial(ctx, p.target.address())
	}
	proxy, err := p.transport.Proxy(&url.URL{Scheme: "https", Host: p.target.host})
	if err != nil {
		return nil, err
	}
	if proxy == nil {
		return p.transport.DialTLS(ctx, p.target.address())
	}
	// https://learn.microsoft.com/azure/event-hubs/troubleshooting-guide#connectivity-certificate-or-timeout-issues
	//nolint:bodyclose // Dial says that it never needs closing.
	conn, _, err := websocket.Dial(ctx, address, &websocket.DialOptions{HTTPClient: p.web, Subprotocols: []string{"amqp"}})
	if err != nil {
		return nil, err
	}
	// The connection outlives the delivery that makes it.
	return websocket.NetConn(context.WithoutCancel(ctx), conn, websocket.MessageBinary), nil
}
