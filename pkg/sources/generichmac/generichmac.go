// Package generichmac receives what any sender signs with an HMAC: home-made scripts, and the generic-hmac
// provider of Flux's notification-controller.
//
// The sender computes the HMAC of the raw body, with the content of the endpoint's key, and puts it into
// X-Signature as sha256= and hex (sha512= works, too; sha1= only where the endpoint sets allowSHA1). With curl:
//
//	sig=$(openssl dgst -sha256 -hmac "$KEY" -r < body.json | cut -d' ' -f1)
//	curl -H "X-Signature: sha256=$sig" -H 'Content-Type: application/json' --data-binary @body.json "$URL"
//
// For other senders the header, the algorithm, the encoding and the text before the signature can be set; see
// Settings. A prefix is needed only without an algorithm.
//
// The body may be anything. Of JSON, the common fields are understood: those of a Flux event (which makes it an
// event of kind flux), else title, message, severity, reason, link, ref, commit, repository and the like, as
// GitHub spells them; the kind is other. Text becomes the message.
//
// There is no event type, no delivery id and no timestamp: who records a request can post it again, and it is
// recognised as a duplicate only while the endpoint's window lasts. Prefer standard-webhooks where you can
// choose.
//
// https://fluxcd.io/flux/components/notification/providers/#generic-webhook-with-hmac
package generichmac

import (
	"context"
	"net/http"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/sources/internal/freeform"
	"github.com/bellhop-dev/bellhop/pkg/verify"
)

// Kind is the manifest.
var Kind = bellhop.Define("generic-hmac", "any sender that signs the body with an HMAC, such as Flux's notification-controller",
	Settings{Header: "X-Signature", Encoding: "hex"}, build,
	bellhop.Aliases{"GenericHMAC"},
	bellhop.SourceTraits{
		Verification: bellhop.BySignature,
		Credentials:  []string{"X-Signature", "X-Hub-Signature", "X-Hub-Signature-256"},
		Sign:         sign,
	})

// Settings of an endpoint.
type Settings struct {
	Header    string      `yaml:"header" doc:"the header that carries the signature; default X-Signature"`
	Algorithm verify.Hash `yaml:"algorithm" doc:"sha256, sha512 or sha1; without it, the signature tells: sha256=…"`
	Encoding  string      `yaml:"encoding" doc:"hex or base64; default hex"`
	Prefix    string      `yaml:"prefix" doc:"the text before the signature when an algorithm is set, such as v0="`
	AllowSHA1 bool        `yaml:"allowSHA1" doc:"believe SHA-1 signatures of senders that offer no SHA-256"`
}

type source struct {
	header string
	prefix string
	base64 bool
	// one is set when the algorithm is; else byName are those that the signature may name.
	one    *verify.HMAC
	byName map[string]*verify.HMAC
}

func build(setup bellhop.Setup, s Settings) (bellhop.Source, error) {
	var problems bellhop.Problems
	if s.Header == "" || strings.ContainsAny(s.Header, " :\t\r\n") {
		problems = append(problems, bellhop.Wrong("header", "%q is no name of a header; write one such as X-Signature", s.Header))
	}
	if s.Encoding != "hex" && s.Encoding != "base64" {
		problems = append(problems, bellhop.Wrong("encoding", "%q: write hex or base64", s.Encoding))
	}
	if s.Algorithm == "" && s.Prefix != "" {
		problems = append(problems, bellhop.Wrong("prefix", "a prefix of your own needs an algorithm beside it, such as algorithm: sha256"))
	}
	if s.Algorithm == verify.SHA1 && !s.AllowSHA1 {
		problems = append(problems, bellhop.Wrong("algorithm", "SHA-1 is weak; use sha256, or write allowSHA1: true beside it for a sender that can do no better"))
	}
	if problems != nil {
		return nil, problems
	}
	src := &source{header: http.CanonicalHeaderKey(s.Header), prefix: s.Prefix, base64: s.Encoding == "base64"}
	if s.Algorithm != "" {
		var err error
		src.one, err = verify.NewHMAC(s.Algorithm, setup.Keys)
		return src, err
	}
	src.byName = map[string]*verify.HMAC{}
	for _, h := range []verify.Hash{verify.SHA256, verify.SHA512, verify.SHA1} {
		if h == verify.SHA1 && !s.AllowSHA1 {
			continue
		}
		mac, err := verify.NewHMAC(h, setup.Keys)
		if err != nil {
			return nil, err
		}
		src.byName[string(h)] = mac
	}
	return src, nil
}

// Verify holds the signature against the raw body.
func (s *source) Verify(_ context.Context, r *bellhop.Request) error {
	signature := r.Header.Get(s.header)
	if signature == "" {
		return bellhop.Reject(bellhop.ReasonSignatureMissing, "no %s header; let the sender sign the body with the endpoint's key", s.header)
	}
	mac := s.one
	if mac != nil {
		rest, ok := strings.CutPrefix(signature, s.prefix)
		if !ok {
			return bellhop.Reject(bellhop.ReasonSignatureMalformed, "%s does not begin with the endpoint's prefix", s.header)
		}
		signature = rest
	} else {
		name, rest, ok := strings.Cut(signature, "=")
		if mac = s.byName[name]; !ok || mac == nil {
			if ok && name == string(verify.SHA1) {
				return bellhop.Reject(bellhop.ReasonSignatureWeak,
					"a SHA-1 signature; let the sender sign with SHA-256, or set allowSHA1: true at the endpoint")
			}
			return bellhop.Reject(bellhop.ReasonSignatureMalformed, "%s does not begin with sha256= or sha512=; if the sender signs in another way, set algorithm at the endpoint", s.header)
		}
		signature = rest
	}
	if s.base64 {
		return mac.Base64(s.header, signature, r.Body)
	}
	return mac.Hex(s.header, signature, r.Body)
}

// Parse makes one event of every request.
func (s *source) Parse(r *bellhop.Request) ([]bellhop.Event, error) { return freeform.Parse(r) }

func sign(key bellhop.Secret, h http.Header, body []byte) {
	h.Set("X-Signature", verify.SignPrefixed(verify.SHA256, key, body))
}
