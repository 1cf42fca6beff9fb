package bellhop

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Rejection is why a request is not believed. Reason is a stable code for the answer, the metrics and the
// list of requests; Detail is for the operator and says what to look at. Neither holds anything secret.
type Rejection struct {
	Reason string
	Detail string
}

func (r *Rejection) Error() string { return r.Reason + ": " + r.Detail }

// Reasons of rejection. They are part of the outside contract: never rename one.
const (
	ReasonSignatureMissing   = "signature_missing"
	ReasonSignatureMalformed = "signature_malformed"
	ReasonSignatureMismatch  = "signature_mismatch"
	ReasonSignatureWeak      = "signature_weak"    // SHA-1 alone, not allowed here
	ReasonTimestampInvalid   = "timestamp_invalid" // missing or not a number
	ReasonTimestampStale     = "timestamp_stale"   // too old or from the future
	ReasonTokenMissing       = "token_missing"
	ReasonTokenMismatch      = "token_mismatch"
	ReasonCredentialsMissing = "credentials_missing"
	ReasonCredentialsWrong   = "credentials_mismatch"
	ReasonAddressDenied      = "address_denied"
	ReasonCertificateDenied  = "certificate_denied"

	// Of tokens that an OIDC issuer signed.
	ReasonTokenMalformed  = "token_malformed"
	ReasonTokenAlgorithm  = "token_algorithm"   // none, or one with a shared secret
	ReasonTokenKeyUnknown = "token_key_unknown" // signed with a key that the issuer does not publish
	ReasonTokenExpired    = "token_expired"
	ReasonTokenEarly      = "token_not_yet_valid"
	ReasonIssuerWrong     = "issuer_mismatch"
	ReasonAudienceWrong   = "audience_mismatch"
	ReasonClaimsDenied    = "claims_denied"
)

// Reject makes a *Rejection.
func Reject(reason, format string, args ...any) error {
	return &Rejection{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// ErrPing is what Source.Verify returns for an unsigned test of the connection, where senders make such: it is
// answered as a ping, believed in nothing, and leaves no trace.
var ErrPing = errors.New("unsigned ping")

// ErrStopping is what a delivery ends with when the program stops: it is handed back, the attempt uncounted.
var ErrStopping = errors.New("stopping")

// ErrUnavailable is wrapped by a queue that cannot take events now (full, out of disk, out of reach). The
// sender is told to come back.
var ErrUnavailable = errors.New("queue unavailable")

// ErrNotFound is wrapped where an event, a delivery or an object of the cluster does not exist.
var ErrNotFound = errors.New("not found")

// ErrConflict is wrapped where something was changed by others since it was read.
var ErrConflict = errors.New("changed since it was read")

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// Permanent marks an error that no retry heals: the delivery goes dead at once.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// IsPermanent reports whether err was marked by Permanent.
func IsPermanent(err error) bool {
	_, ok := errors.AsType[*permanentError](err)
	return ok
}

type retryAfterError struct {
	err error
	d   time.Duration
}

func (e *retryAfterError) Error() string { return e.err.Error() }
func (e *retryAfterError) Unwrap() error { return e.err }

// RetryAfter marks an error after which the provider asked for a pause of d. The whole provider pauses, and
// the delivery loses no attempt.
func RetryAfter(d time.Duration, err error) error {
	if err == nil {
		err = errors.New("asked to come back later")
	}
	return &retryAfterError{err, max(d, 0)}
}

// RetryDelay returns the pause asked for by RetryAfter.
func RetryDelay(err error) (time.Duration, bool) {
	if r, ok := errors.AsType[*retryAfterError](err); ok {
		return r.d, true
	}
	return 0, false
}

// IsStopping reports whether err means that the program stops, not that something failed. A timeout of the
// attempt itself is a failure.
func IsStopping(err error) bool {
	return errors.Is(err, ErrStopping) || errors.Is(err, context.Canceled)
}
