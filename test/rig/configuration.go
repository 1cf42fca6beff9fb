package rig

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Configuration is a native one of GitHub endpoints and generic providers. Endpoint i's events go to provider
// i modulo their number, or to all of them; without providers they go nowhere.
type Configuration struct {
	// Keys are the endpoints' keys.
	Keys [][]byte
	// Providers are URLs, one a provider.
	Providers []string
	// RateLimits are the first providers', such as 1/s; an empty one is none.
	RateLimits []string
	// Broadcast has every endpoint's events go to every provider.
	Broadcast bool
	// CloudEvents posts whole events, deliveryId included (see DeliveryOf), instead of Flux's short ones.
	CloudEvents bool
	// Concurrency is each provider's; the program's default if 0.
	Concurrency int
	// Timeout of each provider's answers; the program's default if 0.
	Timeout time.Duration
	// MinBackoff and MaxBackoff are each provider's; the program's defaults if 0.
	MinBackoff, MaxBackoff time.Duration
}

// NewKeys are n random keys as `bellhop keygen` prints them.
func NewKeys(n int) [][]byte {
	keys := make([][]byte, n)
	for i := range keys {
		b := make([]byte, 32)
		rand.Read(b)
		keys[i] = hex.AppendEncode(nil, b)
	}
	return keys
}

// Files are the contents of the configuration's and the secrets' directories, by name.
func (c *Configuration) Files() (config, secrets map[string][]byte) {
	secrets = map[string][]byte{}
	var b bytes.Buffer
	b.WriteString("apiVersion: bellhop.dev/v1\nkind: Config\nendpoints:\n")
	for i, key := range c.Keys {
		name := fmt.Sprintf("hook-%05d", i)
		fmt.Fprintf(&b, "- {name: %s, source: github, keyPath: %s.key}\n", name, name)
		secrets[name+".key"] = key
	}
	if len(c.Providers) > 0 {
		b.WriteString("providers:\n")
	}
	for i, address := range c.Providers {
		fmt.Fprintf(&b, "- name: sink-%05d\n  type: generic\n  address: %s\n", i, address)
		if c.CloudEvents {
			b.WriteString("  format: cloudevents\n")
		}
		if c.Concurrency > 0 {
			fmt.Fprintf(&b, "  concurrency: %d\n", c.Concurrency)
		}
		if i < len(c.RateLimits) && c.RateLimits[i] != "" {
			fmt.Fprintf(&b, "  rateLimit: %s\n", c.RateLimits[i])
		}
		if c.Timeout > 0 {
			fmt.Fprintf(&b, "  timeout: %v\n", c.Timeout)
		}
		if c.MinBackoff > 0 {
			fmt.Fprintf(&b, "  retry: {minBackoff: %v, maxBackoff: %v}\n", c.MinBackoff, c.MaxBackoff)
		}
	}
	if c.Broadcast || len(c.Providers) == 0 {
		return map[string][]byte{"bellhop.yaml": b.Bytes()}, secrets // without routes everything goes everywhere
	}
	b.WriteString("routes:\n")
	for i := range c.Providers {
		fmt.Fprintf(&b, "- name: route-%05d\n  to: [sink-%05d]\n  from:\n", i, i)
		for e := i; e < len(c.Keys); e += len(c.Providers) {
			fmt.Fprintf(&b, "  - hook-%05d\n", e)
		}
	}
	return map[string][]byte{"bellhop.yaml": b.Bytes()}, secrets
}

// Write lays the configuration out below dir as a kubelet lays out a ConfigMap and a Secret: each file is a
// link through ..data to a directory of one generation, and a further Write changes all of a directory's
// files in one rename. Secrets come first, so that no configuration names a key that is not there.
func (c *Configuration) Write(dir string) error {
	config, secrets := c.Files()
	if err := publish(filepath.Join(dir, "secrets"), secrets); err != nil {
		return err
	}
	return publish(filepath.Join(dir, "config"), config)
}

// publish is the kubelet's AtomicWriter in short.
//
// https://pkg.go.dev/k8s.io/kubernetes/pkg/volume/util#AtomicWriter
func publish(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	generation, err := os.MkdirTemp(dir, "..generation_")
	if err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(generation, name), content, 0o600); err != nil {
			return err
		}
	}
	data := filepath.Join(dir, "..data")
	old, err := os.Readlink(data)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Symlink(filepath.Base(generation), data+"_tmp"); err != nil {
		return err
	}
	if err := os.Rename(data+"_tmp", data); err != nil {
		return err
	}
	for name := range files {
		err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name))
		if err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	if old == "" {
		return nil
	}
	return os.RemoveAll(filepath.Join(dir, old))
}
