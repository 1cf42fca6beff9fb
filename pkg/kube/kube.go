// Package kube is all that Bellhop has of client-go: the Kubernetes API as the rest of the program needs it.
//
// # Reaching the API
//
// In a pod the API is reached with the pod's service account, elsewhere with the file that KUBECONFIG names;
// the latter wins. Nothing else is looked at: a person's ~/.kube/config is not Bellhop's. Nothing is read or
// asked before a method is called, so that a program that never needs the API starts without one.
//
// # Permissions
//
// Objects needs get (by name) and list, Annotate needs patch, each on the kind in question:
//
//	apiVersion: rbac.authorization.k8s.io/v1
//	kind: Role
//	metadata: {name: bellhop, namespace: apps}
//	rules:
//	- apiGroups: [source.toolkit.fluxcd.io]
//	  resources: [gitrepositories]
//	  verbs: [get, list, patch]
//
// Which resource a kind is served as is asked of the API's discovery, which Kubernetes opens to every
// authenticated client (ClusterRole system:discovery). Where a cluster closes it, the name is derived as
// Kubernetes itself derives it from a kind that says nothing of its plural; Flux's kinds all follow that.
//
// Secrets needs list and watch on the secrets of Bellhop's own namespace, Events create and patch on its events, and
// get on the ConfigMap for its UID; without that, Events are there but not in `kubectl describe configmap`:
//
//   - apiGroups: [""]
//     resources: [secrets]
//     verbs: [list, watch]
//   - apiGroups: [events.k8s.io]
//     resources: [events]
//     verbs: [create, patch]
//   - apiGroups: [""]
//     resources: [configmaps]
//     resourceNames: [bellhop]
//     verbs: [get]
//
// # Errors
//
// An error means to the notifier what the status of the API's answer means; see classed. A missing permission
// (403) is retried: it is mended in the cluster by the same hands that wrote the configuration, often a
// moment later. Answers that ask for a pause (429, and 503 with Retry-After) become bellhop.RetryAfter
// instead of client-go's own waiting, which would use up the attempt's time.
package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Requests a second and at once that this client allows itself, as Flux's controllers do. One event may touch
// hundreds of objects; fairness among clients is the API server's own affair.
const (
	requestsPerSecond = 50
	requestsAtOnce    = 300
)

// Options say how to reach the API.
type Options struct {
	// Kubeconfig is the value of KUBECONFIG: one file, or several as in a PATH. If empty, the pod's service
	// account is used.
	Kubeconfig string
	// Namespace is Bellhop's own, such as POD_NAMESPACE tells. If empty, it is that of the service account or
	// of the kubeconfig's context, else "default".
	Namespace string
	// UserAgent is what the API's audit log calls the program; "bellhop" if empty.
	UserAgent string
	// Logger gets the API server's warnings, such as that a version is deprecated, each once; nil for none.
	Logger *slog.Logger
}

// Cluster is the Kubernetes API. It is safe for concurrent use.
type Cluster struct {
	options Options

	mu   sync.Mutex
	conn *connection // nil until it is first needed
}

var _ bellhop.Cluster = (*Cluster)(nil)

// New never fails: whether there is an API to reach shows when it is needed.
func New(o Options) *Cluster {
	if o.UserAgent == "" {
		o.UserAgent = fieldManager
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Cluster{options: o}
}

// connection is what there is once the configuration was read. It is kept; the service account's token and
// the CA are re-read by client-go itself when they change.
type connection struct {
	namespace string
	raw       rest.Interface
	objects   dynamic.Interface
	resources resources
}

// connect reads the configuration, unless that has been done. What failed is tried again at the next call: a
// KUBECONFIG may not be there yet.
func (c *Cluster) connect() (*connection, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		return c.conn, nil
	}
	config, namespace, err := c.options.access()
	if err != nil {
		return nil, fmt.Errorf("%w: run with a service account or set KUBECONFIG: %w", errNoAPI, err)
	}
	if c.options.Namespace != "" {
		namespace = c.options.Namespace
	}
	if namespace == "" {
		namespace = "default"
	}
	config = dynamic.ConfigFor(config)
	config.UserAgent = c.options.UserAgent
	config.QPS, config.Burst = requestsPerSecond, requestsAtOnce
	config.GroupVersion = &schema.GroupVersion{}
	config.WarningHandlerWithContext = &warnings{logger: c.options.Logger}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return pausing{next} })
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("%w: reading the configuration of its client: %w", errNoAPI, err)
	}
	c.conn = &connection{namespace: namespace, raw: client, objects: dynamic.New(client)}
	return c.conn, nil
}

// access reads how to reach the API, and the namespace that goes with it, empty if none does.
func (o Options) access() (*rest.Config, string, error) {
	if o.Kubeconfig == "" {
		return inCluster()
	}
	rules := &clientcmd.ClientConfigLoadingRules{Precedence: filepath.SplitList(o.Kubeconfig)}
	file, err := rules.Load()
	if err != nil {
		return nil, "", fmt.Errorf("reading KUBECONFIG: %w", err)
	}
	client := clientcmd.NewNonInteractiveClientConfig(*file, file.CurrentContext, nil, rules)
	config, err := client.ClientConfig()
	switch {
	case clientcmd.IsEmptyConfig(err):
		return nil, "", fmt.Errorf("KUBECONFIG is %s, where no cluster is named", o.Kubeconfig)
	case err != nil:
		return nil, "", fmt.Errorf("reading KUBECONFIG: %w", err)
	}
	namespace, _, err := client.Namespace()
	if err != nil {
		return nil, "", fmt.Errorf("reading KUBECONFIG: %w", err)
	}
	return config, namespace, nil
}

// ownNamespace is where the kubelet tells a pod its namespace.
const ownNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

func inCluster() (*rest.Config, string, error) {
	config, err := rest.InClusterConfig()
	switch {
	case errors.Is(err, rest.ErrNotInCluster):
		return nil, "", errors.New("this is no pod")
	case errors.Is(err, os.ErrNotExist):
		return nil, "", errors.New("the pod has no token of a service account: set automountServiceAccountToken: true")
	case err != nil:
		return nil, "", err
	}
	namespace, err := os.ReadFile(ownNamespace)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, "", err
	}
	return config, strings.TrimSpace(string(namespace)), nil
}

// warnings logs what the API server warns of, each text once.
type warnings struct {
	logger *slog.Logger
	seen   sync.Map
}

// HandleWarningHeaderWithContext is called for each Warning header. Kubernetes warns with code 299 only.
func (w *warnings) HandleWarningHeaderWithContext(ctx context.Context, code int, _, text string) {
	if code != 299 || text == "" {
		return
	}
	if _, again := w.seen.LoadOrStore(text, true); !again {
		w.logger.WarnContext(ctx, "the Kubernetes API warns", "warning", text)
	}
}
