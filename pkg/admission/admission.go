// Package admission is Bellhop's validating admission webhook: the Kubernetes API asks it before it stores a
// ConfigMap or a Secret that is labelled bellhop.dev/config: "true", and it answers with the words of `bellhop check`.
//
// A ConfigMap's *.yaml and *.yml keys are read as the directory of the configuration that it will be mounted as,
// together with the Secrets that the process has. A Secret is read together with the configuration that the
// process has: under its own name, as secretRefs see it, and right in the directory of secrets where its keys are
// the files there. What is wrong with the object is refused, what is doubtful is a warning. A key that is not there
// is a warning too, with the command that adds it: ConfigMap and Secret are applied one after the other, and
// either may be first. What would be wrong without the Secret as well is no reason to refuse it. Of another namespace
// than the process's own there is no Secret to hold a ConfigMap against: it is read by itself.
//
// Everything else is allowed unread: other kinds, objects without the label, and all operations but CREATE and
// UPDATE. Nothing is stored or sent, and no value of a Secret is in an answer, a log or a metric. See
// https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
package admission

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/bellhop-dev/bellhop/pkg/config"
)

// Options are what a webhook needs; Loader is required.
type Options struct {
	// Loader reads the process's own configuration and Secrets.
	Loader *config.Loader
	// Namespace is the process's own: Secrets of others are not what it has mounted. Empty: not known.
	Namespace string
	// Reviews counts by kind (ConfigMap, Secret, other) and result (allowed, warned, refused, invalid). nil: nothing does.
	Reviews *prometheus.CounterVec
	// Logger is told what is refused, but not why: that is for the one who applied it. nil: nobody is.
	Logger *slog.Logger
}

const (
	// maxReview is the largest request in bytes. An object has 1.5 MiB at most in etcd, base64 of binary data
	// included, and an update brings it old and new.
	maxReview = 4 << 20
	// concurrent is how many objects are validated at a time: people apply few, and the receiver needs the CPU more.
	concurrent = 2
	// patience is how long a review waits for others; the API waits 30 s at most.
	patience = 10 * time.Second
)

// The results that are counted.
const (
	allowed = "allowed"
	warned  = "warned"
	refused = "refused"
	invalid = "invalid"
)

// webhook is the http.Handler.
type webhook struct {
	Options
	turns chan struct{}
}

// New makes the handler of the admission listener. It answers at any path.
func New(o Options) http.Handler {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &webhook{Options: o, turns: make(chan struct{}, concurrent)}
}

// ServeHTTP answers one AdmissionReview.
func (h *webhook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "the API posts an AdmissionReview here", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReview))
	if err != nil {
		h.count("", invalid)
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			http.Error(w, "the AdmissionReview is larger than 4 MiB", http.StatusRequestEntityTooLarge)
			return
		}
		http.Error(w, "reading the AdmissionReview was interrupted", http.StatusBadRequest)
		return
	}
	q, err := decode(body)
	if err != nil {
		h.count("", invalid)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	kind := ""
	v := verdict{}
	if q.object != nil {
		kind = q.Kind.Kind
		leave, err := h.turn(r.Context())
		if err != nil {
			http.Error(w, "other objects are being validated: try again", http.StatusServiceUnavailable)
			return
		}
		v = h.judge(q)
		leave()
	}
	switch {
	case len(v.refusals) > 0:
		h.count(kind, refused)
		h.Logger.Info("admission refused", "kind", kind, "namespace", q.Namespace, "name", q.Name, "problems", len(v.refusals))
	case len(v.warnings) > 0:
		h.count(kind, warned)
	default:
		h.count(kind, allowed)
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.MarshalWrite(w, v.review(q.UID)); err != nil {
		h.Logger.Debug("answering an AdmissionReview", "error", err)
	}
}

// turn waits for one of few turns.
func (h *webhook) turn(ctx context.Context) (leave func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case h.turns <- struct{}{}:
		return func() { <-h.turns }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (h *webhook) count(kind, result string) {
	if kind == "" {
		kind = "other"
	}
	if h.Reviews != nil {
		h.Reviews.WithLabelValues(kind, result).Inc()
	}
}

// judge validates what the request is about.
func (h *webhook) judge(q *request) verdict {
	if q.Kind.Kind == kindSecret {
		return h.secret(q)
	}
	return h.configMap(q)
}
