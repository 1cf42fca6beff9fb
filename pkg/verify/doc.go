// Package verify proves that a request comes from a holder of a key: signature schemes over raw bytes,
// tokens, those of OIDC issuers among them, credentials, addresses and client certificates.
//
// What is refused is a *bellhop.Rejection with a stable reason and never says anything secret. Secrets and
// signatures are compared in constant time, nothing of a body is decoded, and everything is safe for
// concurrent use.
//
// Keys are believed with and without a trailing line break (see bellhop.Secret.Variants). What travels in a
// header is believed without any surrounding white space as well, since no header can carry it. A key that
// holds nothing but white space verifies nothing.
package verify
