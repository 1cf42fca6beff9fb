package kube

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
)

// classed gives an error of client-go the meaning that bellhop.Cluster promises:
//
//	400, 405, 406, 413, 415, 422, …  Permanent: the request itself is not to the API's liking
//	401, 403                         plain: a token is renewed, a permission is granted
//	404                              ErrNotFound
//	408, 410, 425, 5xx               plain
//	409                              ErrConflict
//	429, 503 with Retry-After        RetryAfter; see pausing
//	no answer                        plain
func classed(err error) error {
	if _, ok := bellhop.RetryDelay(err); ok {
		// The URL that net/http puts before it says less than whoever asked.
		if u, ok := errors.AsType[*url.Error](err); ok {
			return u.Err
		}
		return err
	}
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok {
		return err
	}
	err = errors.New(oneLine(status.ErrStatus.Message))
	switch code := int(status.ErrStatus.Code); {
	case code == http.StatusNotFound:
		return fmt.Errorf("%w: %w", bellhop.ErrNotFound, err)
	case code == http.StatusConflict:
		return fmt.Errorf("%w: %w", bellhop.ErrConflict, err)
	case code == http.StatusUnauthorized, code == http.StatusForbidden, code == http.StatusRequestTimeout,
		code == http.StatusGone, code == http.StatusTooEarly, code < 400, code > 499:
		return err
	default:
		return bellhop.Permanent(err)
	}
}

// errNoAPI says that nothing leads to an API, errDenied that the API knows Bellhop but does not let it.
var (
	errNoAPI  = errors.New("no Kubernetes API")
	errDenied = errors.New("not permitted")
)

// oneLine is a message of the API, or of an admission webhook, on one line.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// pausing turns answers that ask for a pause into errors before client-go sits the pause out.
type pausing struct{ next http.RoundTripper }

// maxQuoted is how many bytes of such an answer are read.
const maxQuoted = 4 << 10

func (p pausing) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := p.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusTooManyRequests &&
		(resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "") {
		return resp, nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxQuoted))
	if err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("the Kubernetes API %w", httpsend.Status(resp, body))
}

// WrappedRoundTripper lets client-go find the transport below.
func (p pausing) WrappedRoundTripper() http.RoundTripper { return p.next }
