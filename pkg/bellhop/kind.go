package bellhop

import (
	"context"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
)

// Verification is what an endpoint's requests are known by.
type Verification string

// The verifications. Path is the weakest: whoever knows the URL is believed.
const (
	BySignature Verification = "signature"
	ByToken     Verification = "token"
	ByPath      Verification = "path"
)

// Kind is a plug-in's manifest: everything the rest of the program knows of it. T is Source or Provider.
// Define makes one; there is no other way to construct what it describes.
type Kind[T any] struct {
	// Name is how configuration spells it, lower case with dashes. Aliases are other spellings. Names are
	// compared without regard to case.
	Name    string
	Aliases []string
	// Summary is one line for lists and documentation.
	Summary string
	// Settings is the type that the settings decode into, for documentation.
	Settings reflect.Type
	// Source says what only sources have.
	Source SourceTraits
	// Provider says what only providers have.
	Provider ProviderTraits

	build func(Setup) (T, error)
}

// SourceTraits are the facts of a kind of sender that the receiver and the configuration need.
type SourceTraits struct {
	// Verification is what the kind's requests are known by when nothing else is configured.
	Verification Verification
	// Lenient: flux-recv accepted this sender unsigned, and its files keep that; see Setup.Lenient.
	Lenient bool
	// Repeats: two deliveries of different events may be equal to the byte (Quay, generic), so a digest of
	// the body says nothing about duplicates.
	Repeats bool
	// LosesOn429: the sender takes 429 Too Many Requests for success, so it is told 503 when it is too fast.
	LosesOn429 bool
	// AsksFirst: the sender may ask with OPTIONS whether it may post here, as CloudEvents' HTTP webhooks have it.
	// It may: it knows the URL.
	AsksFirst bool
	// Credentials are headers that hold the sender's secret or signature beyond the usual ones; they are
	// not kept with the event.
	Credentials []string
	// Sign makes the headers of a request as the sender would: for `bellhop send` and for tests. It may
	// replace nothing but headers.
	Sign func(key Secret, h http.Header, body []byte)
	// EventHeader names the header that carries Event.Type, for `bellhop send --event`; empty if the body does.
	EventHeader string
	// DeliveryHeader names the header that carries Event.DeliveryID, for `bellhop send`; empty if none does. It
	// is set before Sign is called.
	DeliveryHeader string
}

// ProviderTraits are the facts of a kind of destination that the notifier and the configuration need.
type ProviderTraits struct {
	// Rate is the vendor's documented rate; used when the user sets none. Zero: unlimited.
	Rate Rate
	// ForPeople: its messages are read by people. One that the vendor finds malformed or too large for all our care is
	// sent once more, cut down to what matters.
	ForPeople bool
}

// Setup is what a plug-in is built from.
type Setup struct {
	// Name is the endpoint's or provider's configured name.
	Name string
	// Decode fills a pointer to the plug-in's settings from the configuration and the secrets, strictly.
	Decode func(into any) error
	// Logger is for what a person should see; nothing secret goes there.
	Logger *slog.Logger

	// Keys are an endpoint's keys, at least one, none empty. Any of them verifies. (Sources.)
	Keys []Secret
	// Lenient is set for flux-recv files when the kind has that trait: what carries no signature is
	// accepted, a present one is verified. (Sources.)
	Lenient bool

	// Issuers verify the tokens of OIDC issuers. (Sources.)
	Issuers Issuers

	// Client is the provider's own client: proxy, certificates, limits and redirects are settled in it.
	// (Providers.)
	Client *http.Client
	// Cluster is the Kubernetes API. (Providers.)
	Cluster Cluster
	// Installation tells this installation of Bellhop from others that speak to the same vendor, such as those
	// of other clusters; it may be empty. (Providers.)
	Installation string

	// Expression compiles a CEL expression over the named variables, of any type each, that yields true or
	// false. The error is Problems without a path.
	Expression func(expr string, variables ...string) (Expression, error)
}

// Expression is a compiled expression. It is safe for concurrent use.
type Expression interface {
	// Match reports whether the expression holds. The values are what encoding/json decodes into an any. The
	// error says why it has no answer for them, such as a key that is not there.
	Match(values map[string]any) (bool, error)
}

// Issuers are the OIDC issuers that a program has met, each with its public keys: fetched once for all
// endpoints, kept over reloads, and used on while an issuer is out of reach.
type Issuers interface {
	// Payload returns a token's claims, as JSON, once its signature was verified with a key of the issuer. It
	// looks at nothing in them. A *Rejection says that the token is not the issuer's; other errors that the
	// issuer's keys are out of reach.
	Payload(ctx context.Context, issuer, token string) ([]byte, error)
}

// Cluster is what providers need of the Kubernetes API. Its methods fail where there is none.
type Cluster interface {
	// Objects finds objects of a group, version and kind: one by name, which is ErrNotFound if it is not there,
	// or, if name is empty, those of the namespace with the labels, all if there are none.
	Objects(ctx context.Context, q ObjectQuery) ([]Object, error)
	// Annotate sets one annotation of an object. If o has a resource version, it must still be the object's:
	// ErrConflict. An object that is gone is ErrNotFound; what no retry heals, such as an object that admission
	// finds invalid, is Permanent. A missing permission is not: it heals when it is granted.
	Annotate(ctx context.Context, o ObjectReference, name, value string) error
}

// ObjectQuery selects objects of the cluster.
type ObjectQuery struct {
	APIVersion, Kind string
	// Namespace is Bellhop's own if empty.
	Namespace string
	Name      string
	Labels    map[string]string
}

// Object is an object of the cluster, as far as anybody asks.
type Object struct {
	ObjectReference
	// Content is the whole object, as encoding/json decodes it, but that whole numbers are int64. It is not to
	// be changed.
	Content map[string]any
}

// Define makes the manifest of a plug-in. The settings are decoded strictly over a copy of defaults; build
// checks them and makes the plug-in. It does no I/O and starts nothing: validation builds and forgets.
// Problems that it returns carry paths relative to its settings (see Wrong).
//
// Settings are a struct with these tags:
//
//	yaml:"name"    the key in the file
//	secret:"key"   the key in the Secret named by secretRef; it overrides the file. A field of type Secret
//	               that has no yaml tag can only come from there.
//	doc:"…"        one line for the documentation
//
// Scalars may implement encoding.TextUnmarshaler (Size, Rate do); time.Duration is written as 15s.
func Define[T, S any](name, summary string, defaults S, build func(Setup, S) (T, error), traits ...any) Kind[T] {
	k := Kind[T]{Name: name, Summary: summary, Settings: reflect.TypeFor[S]()}
	for _, t := range traits {
		switch t := t.(type) {
		case SourceTraits:
			k.Source = t
		case ProviderTraits:
			k.Provider = t
		case Aliases:
			k.Aliases = t
		default:
			panic("bellhop: Define(" + name + "): a trait is SourceTraits, ProviderTraits or Aliases")
		}
	}
	k.build = func(setup Setup) (T, error) {
		settings := defaults
		if setup.Decode != nil {
			if err := setup.Decode(&settings); err != nil {
				var zero T
				return zero, err
			}
		}
		return build(setup, settings)
	}
	return k
}

// Aliases are other spellings of a kind's name, given to Define.
type Aliases []string

// Build makes the plug-in, or says everything that is wrong with its settings. When err holds warnings only,
// the plug-in is usable.
func (k Kind[T]) Build(setup Setup) (T, error) {
	if setup.Logger == nil {
		setup.Logger = slog.New(slog.DiscardHandler)
	}
	return k.build(setup)
}

// Catalog is the set of plug-ins that a program knows. It is handed around as a value.
type Catalog struct {
	Sources   []Kind[Source]
	Providers []Kind[Provider]
}

// Source finds a kind by name or alias, whatever the case.
func (c Catalog) Source(name string) (Kind[Source], bool) { return find(c.Sources, name) }

// Provider finds a kind by name or alias, whatever the case.
func (c Catalog) Provider(name string) (Kind[Provider], bool) { return find(c.Providers, name) }

func find[T any](kinds []Kind[T], name string) (Kind[T], bool) {
	for _, k := range kinds {
		if strings.EqualFold(k.Name, name) {
			return k, true
		}
		for _, a := range k.Aliases {
			if strings.EqualFold(a, name) {
				return k, true
			}
		}
	}
	return Kind[T]{}, false
}
