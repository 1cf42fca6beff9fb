package app

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// keyPair is a listener's certificate, and the authority of its clients', which may be renewed while it serves.
type keyPair struct {
	listener          string
	certFile, keyFile string
	clientCAFile      string // empty: clients are not asked for a certificate

	mu   sync.Mutex // one reload at a time
	read [3][]byte  // the files' content
	live atomic.Pointer[tls.Config]
}

// reload takes the files if they changed and belong together; otherwise what served goes on serving.
func (k *keyPair) reload() (changed bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var read [3][]byte
	for i, file := range []string{k.certFile, k.keyFile, k.clientCAFile} {
		if file == "" {
			continue
		}
		if read[i], err = os.ReadFile(file); err != nil {
			return false, fmt.Errorf("reading the %s: %w", [...]string{"certificate", "private key", "authority of client certificates"}[i], err)
		}
	}
	cert, key, clientCA := read[0], read[1], read[2]
	if bytes.Equal(cert, k.read[0]) && bytes.Equal(key, k.read[1]) && bytes.Equal(clientCA, k.read[2]) {
		return false, nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return false, fmt.Errorf("certificate %s with private key %s: %w", k.certFile, k.keyFile, err)
	}
	next := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, Certificates: []tls.Certificate{pair}}
	if k.clientCAFile != "" {
		// Whether an endpoint insists on one is its `auth`'s business.
		next.ClientAuth, next.ClientCAs = tls.VerifyClientCertIfGiven, x509.NewCertPool()
		if !next.ClientCAs.AppendCertsFromPEM(clientCA) {
			return false, fmt.Errorf("authority of client certificates: %s holds no certificate: write PEM", k.clientCAFile)
		}
	}
	k.read = read
	k.live.Store(next)
	return true, nil
}

func (k *keyPair) notAfter() time.Time { return k.live.Load().Certificates[0].Leaf.NotAfter }

func (k *keyPair) config() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{"h2", "http/1.1"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return k.live.Load(), nil },
	}
}
