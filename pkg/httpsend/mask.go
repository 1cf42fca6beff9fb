package httpsend

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// maxQuoted is how many runes are shown of what went wrong.
const maxQuoted = 200

// minSecret is the length from which a text is masked: shorter ones hide nothing and would eat the words.
const minSecret = 4

// mask takes out of a text what must not be shown.
type mask struct{ words []string }

// maskOf knows the secrets of the settings and of a request: its URL's path, query and user-info, and the
// values of its headers that authenticate.
func maskOf(secrets []string, req *http.Request) *mask {
	words := slices.Clone(secrets)
	u := req.URL
	words = append(words, u.Path, u.EscapedPath(), u.RequestURI(), u.RawQuery)
	for s := range strings.SplitSeq(u.Path, "/") {
		if len(s) >= 16 { // long enough to be a token rather than a word
			words = append(words, s)
		}
	}
	for _, vs := range u.Query() {
		words = append(words, vs...)
	}
	if u.User != nil {
		password, _ := u.User.Password()
		words = append(words, u.User.Username(), password, u.User.String())
	}
	for name, vs := range req.Header {
		if ordinary[name] {
			continue
		}
		for _, v := range vs {
			words = append(words, v)
			if scheme, credentials, ok := strings.Cut(v, " "); ok && name == "Authorization" {
				words = append(words, credentials)
				if plain, err := base64.StdEncoding.DecodeString(credentials); err == nil && strings.EqualFold(scheme, "Basic") {
					_, password, _ := strings.Cut(string(plain), ":")
					words = append(words, string(plain), password)
				}
			}
		}
	}
	return &mask{words}
}

// ordinary are the request headers whose values are no secret. All others may be.
var ordinary = map[string]bool{
	"Accept": true, "Content-Type": true, "User-Agent": true, "Gotk-Component": true, "Idempotency-Key": true,
	"X-Atlassian-Token": true, "X-Github-Api-Version": true,
}

// text masks, then cuts: half a secret is one too.
func (m *mask) text(s string) string {
	s = OneLine(s)
	var forms []string
	for _, w := range m.words {
		if w = OneLine(w); len(w) < minSecret {
			continue
		}
		quoted, _ := json.Marshal(w)
		forms = append(forms, w, url.QueryEscape(w), url.PathEscape(w), string(quoted[1:len(quoted)-1]), strings.ReplaceAll(w, "/", `\/`))
	}
	// Longest first, so that no part of a longer one is left.
	slices.SortFunc(forms, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b))
	})
	for _, f := range forms {
		s = strings.ReplaceAll(s, f, "<secret>")
	}
	return Cut(s, maxQuoted, Runes)
}

// classed is the same class of error with a masked text, and wraps nothing else.
func (m *mask) classed(err error) error {
	masked := errors.New(m.text(err.Error()))
	if d, ok := bellhop.RetryDelay(err); ok {
		return bellhop.RetryAfter(d, masked)
	}
	if bellhop.IsPermanent(err) {
		return bellhop.Permanent(masked)
	}
	if bellhop.IsStopping(err) {
		return fmt.Errorf("%w", bellhop.ErrStopping)
	}
	return masked
}

// transport is the error of an exchange that got no whole answer. A context that ended is the reason, however
// the transport puts it; only then does the error wrap anything.
func (m *mask) transport(ctx context.Context, err error) error {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("no answer in time: %w", context.Cause(ctx))
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted: %w", context.Cause(ctx))
	case errors.Is(err, context.DeadlineExceeded): // of a context of its own, or of ctx a moment early
		return fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)
	}
	err = unwrapURL(err)
	if refused, ok := errors.AsType[*refusal](err); ok {
		return bellhop.Permanent(refused)
	}
	text := err.Error()
	var untrusted *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var alert tls.AlertError
	switch {
	case errors.As(err, &unknown):
		text = "its certificate is not signed by a CA that is trusted here: give its CA as ca.crt in the Secret named by certSecretRef"
	case errors.As(err, &untrusted):
		text = "its certificate is not valid: " + untrusted.Err.Error()
	case errors.As(err, &alert):
		text = "it refused the TLS connection (" + alert.Error() + "): it may want a client certificate, tls.crt and tls.key in the Secret named by certSecretRef"
	}
	return errors.New(m.text(text))
}

// OneLine turns control characters and line breaks into spaces, and white space into one space each.
func OneLine(s string) string {
	return strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "\uFFFD"), func(r rune) bool {
		return unicode.IsControl(r) || unicode.IsSpace(r) || unicode.Is(unicode.Bidi_Control, r)
	}), " ")
}

// secretsOf finds the secrets in a plug-in's settings: every Secret, and every field that may come from the
// Secret in the cluster. Of those that are URLs, the parts count too.
func secretsOf(settings any) []string {
	var found []string
	add := func(s string) {
		found = append(found, s)
		if u, err := url.Parse(s); err == nil && u.Host != "" {
			req := http.Request{URL: u}
			found = append(found, maskOf(nil, &req).words...)
		}
	}
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		if v.Type() == reflect.TypeFor[bellhop.Secret]() {
			if s := v.Interface().(bellhop.Secret); !s.Empty() {
				add(s.RevealString())
			}
			return
		}
		switch v.Kind() {
		case reflect.Struct:
			for f, fv := range v.Fields() {
				if !f.IsExported() {
					continue
				}
				if f.Tag.Get("secret") != "" && fv.Kind() == reflect.String {
					add(fv.String())
				}
				walk(fv)
			}
		case reflect.Pointer, reflect.Interface:
			if !v.IsNil() {
				walk(v.Elem())
			}
		case reflect.Map:
			for _, e := range v.Seq2() {
				walk(e)
			}
		case reflect.Slice, reflect.Array:
			for i := range v.Len() {
				walk(v.Index(i))
			}
		}
	}
	walk(reflect.ValueOf(settings))
	return found
}
