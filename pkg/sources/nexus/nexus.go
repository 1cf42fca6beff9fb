// Package nexus receives the webhooks of Sonatype Nexus Repository 3.
//
// At Nexus, open "System", "Capabilities", "Create capability": "Webhook: Repository" is for one repository, and its
// event type component is what most want. The URL is the endpoint's hook URL, the secret key the content of the
// endpoint's key. "Webhook: Global" has the event types repository and audit.
//
// Nexus signs the body with HMAC-SHA1 in X-Nexus-Webhook-Signature; it has nothing better, so that here it is
// believed without being allowed. Without a secret key Nexus signs nothing and the endpoint refuses what it sends.
// The event's type is X-Nexus-Webhook-Id, such as rm:repository:component, the action CREATED, UPDATED, DELETED
// or PURGED, the delivery id X-Nexus-Webhook-Delivery. Nexus repeats nothing: what fails is lost. There is no ping.
//
// A component of format docker is an image: CREATED and UPDATED, a tag that was moved, are image.push, DELETED is
// image.delete. Of assets only the manifests are images, and UPDATED is no push, because Nexus says it of
// downloads, too. Components and assets of other formats are packages; everything else is of kind other.
//
// Nexus does not tell the host that its registry is reached at: registryHost sets it, such as
// nexus.example:8082, and it stands before the repository's name in the event's image. In the native form it has
// nothing to do with the hook URL; in a flux-recv file it has both meanings, as under flux-recv.
//
// https://help.sonatype.com/en/working-with-http-webhooks.html
package nexus

import (
	"context"
	"net/http"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/verify"
)

// Kind is the manifest.
var Kind = bellhop.Define("nexus", "Sonatype Nexus Repository 3: components, assets, repositories, audit",
	Settings{}, build,
	bellhop.SourceTraits{
		Verification:   bellhop.BySignature,
		Credentials:    []string{headerSignature},
		Sign:           sign,
		EventHeader:    headerEvent,
		DeliveryHeader: headerDelivery,
	})

// Settings of an endpoint.
type Settings struct {
	RegistryHost string `yaml:"registryHost" doc:"the host of the container registry, with its port, as images are pulled from it"`
}

// The headers, in the case of net/http.
const (
	headerEvent     = "X-Nexus-Webhook-Id"
	headerDelivery  = "X-Nexus-Webhook-Delivery"
	headerSignature = "X-Nexus-Webhook-Signature"
)

type source struct {
	mac          *verify.HMAC
	registryHost string
}

func build(setup bellhop.Setup, s Settings) (bellhop.Source, error) {
	mac, err := verify.NewHMAC(verify.SHA1, setup.Keys)
	if err != nil {
		return nil, err
	}
	src := &source{mac, s.RegistryHost}
	if strings.Contains(s.RegistryHost, "://") || strings.ContainsAny(s.RegistryHost, " \t\r\n@") {
		// A warning, because flux-recv took anything here and made the URL of it.
		return src, bellhop.Doubtful("registryHost", "%q is no host, and images are named after it: write it as in docker pull, such as nexus.example:8082", s.RegistryHost)
	}
	return src, nil
}

// Verify holds the signature, hex without a prefix, against the body.
func (s *source) Verify(_ context.Context, r *bellhop.Request) error {
	return s.mac.Hex(headerSignature, r.Header.Get(headerSignature), r.Body)
}

func sign(key bellhop.Secret, h http.Header, body []byte) {
	h.Set(headerSignature, verify.SignHex(verify.SHA1, key, body))
}
