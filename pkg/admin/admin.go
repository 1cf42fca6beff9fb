// Package admin is the operator's side: health, metrics and the API over what was received and delivered. It
// has a listener of its own and is never exposed with the receiver.
//
// Health and metrics are open. The API answers peers on loopback (`kubectl port-forward` is one), and others
// only with the bearer token. It shows hook URLs, which are secrets of a kind, but never a key or a
// provider's credentials.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/config"
	"github.com/bellhop-dev/bellhop/pkg/notifier"
	"github.com/bellhop-dev/bellhop/pkg/receiver"
)

// Options are what the handler looks at. All are required but Token and PublicURL.
type Options struct {
	Queue    bellhop.Queue
	Receiver *receiver.Receiver
	Notifier *notifier.Notifier
	Metrics  prometheus.Gatherer
	Logger   *slog.Logger
	// Status is the process's state.
	Status func() Status
	// Token opens the API to peers that are not on loopback. Empty: to nobody else.
	Token func() bellhop.Secret
	// PublicURL is the base of hook URLs; empty shows paths.
	PublicURL string
}

// Status is the state of the process, at /api/v1/status.
type Status struct {
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Ready   bool      `json:"ready"`
	// NotReady says what is missing.
	NotReady []string     `json:"notReady,omitempty"`
	Config   ConfigStatus `json:"config"`
	Queue    QueueStatus  `json:"queue"`
	// Replicas are the processes that share the queue, this one among them, by name. ReplicasError says why they
	// are not known. The handler fills in both.
	Replicas      []ReplicaStatus `json:"replicas"`
	ReplicasError string          `json:"replicasError,omitempty"`
}

// ConfigStatus is how the configuration stands.
type ConfigStatus struct {
	// Hash is that of the configuration that serves; empty before the first good one.
	Hash      string    `json:"hash"`
	Loaded    time.Time `json:"loaded,omitzero"`
	Endpoints int       `json:"endpoints"`
	Providers int       `json:"providers"`
	// Successful is false while a broken configuration waits to be mended.
	Successful bool      `json:"lastReloadSuccessful"`
	Checked    time.Time `json:"lastReload,omitzero"`
	// Problems are those of the last attempt to load, warnings included.
	Problems []string `json:"problems,omitempty"`
}

// QueueStatus is how the queue stands.
type QueueStatus struct {
	Healthy bool   `json:"healthy"`
	Error   string `json:"error,omitempty"`
}

// ReplicaStatus is one process among those that share the queue.
type ReplicaStatus struct {
	bellhop.Replica
	// Lagging: it serves another configuration than the one that was loaded last by any of them. Each reloads on its
	// own, in a cluster up to a minute or two apart; one that lags for longer refused the configuration, or does not
	// get the files.
	Lagging bool `json:"lagging"`
}

type handler struct {
	Options
}

// New makes the admin listener's handler.
func New(o Options) http.Handler {
	h := &handler{o}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", h.ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{}))

	api := http.NewServeMux()
	api.HandleFunc("GET /api/v1/status", h.status)
	api.HandleFunc("GET /api/v1/endpoints", h.endpoints)
	api.HandleFunc("GET /api/v1/providers", h.providers)
	api.HandleFunc("GET /api/v1/routes", h.routes)
	api.HandleFunc("GET /api/v1/requests", h.requests)
	api.HandleFunc("GET /api/v1/events", h.events)
	api.HandleFunc("GET /api/v1/events/{id}", h.event)
	api.HandleFunc("POST /api/v1/events/{id}/replay", h.replay)
	api.HandleFunc("GET /api/v1/deliveries", h.deliveries)
	api.HandleFunc("GET /api/v1/dead", h.dead)
	api.HandleFunc("POST /api/v1/dead/retry", h.each(o.Queue.Retry))
	api.HandleFunc("POST /api/v1/dead/drop", h.each(o.Queue.Drop))
	api.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, "no such thing: "+r.Method+" "+r.URL.Path)
	})
	mux.Handle("/", h.guard(api))
	return mux
}

// guard lets in loopback peers and holders of the token.
func (h *handler) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
			if h.Token != nil && h.Token().Equal([]byte(given)) {
				next.ServeHTTP(w, r)
				return
			}
			fail(w, http.StatusUnauthorized, "the bearer token is not the one of BELLHOP_ADMIN_TOKEN_FILE")
			return
		}
		switch {
		case !loopback(r.RemoteAddr):
			w.Header().Set("WWW-Authenticate", "Bearer")
			fail(w, http.StatusUnauthorized, "the API answers loopback peers (kubectl port-forward), others need the token of BELLHOP_ADMIN_TOKEN_FILE")
		case !localName(r.Host):
			// A page in a browser may have its own name point here; it must not read what the operator may.
			fail(w, http.StatusForbidden, "the Host header names "+strconv.Quote(r.Host)+": use localhost or an address")
		case r.Method != http.MethodGet && !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json"):
			// Nor may it post a form here.
			fail(w, http.StatusUnsupportedMediaType, "send Content-Type: application/json")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func loopback(remote string) bool {
	p, err := netip.ParseAddrPort(remote)
	return err == nil && p.Addr().Unmap().IsLoopback()
}

func localName(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	_, err = netip.ParseAddr(host)
	return err == nil || strings.EqualFold(host, "localhost")
}

func (h *handler) ready(w http.ResponseWriter, _ *http.Request) {
	s := h.Status()
	if s.Ready {
		text(w, http.StatusOK, "ok\n")
		return
	}
	text(w, http.StatusServiceUnavailable, strings.Join(s.NotReady, "\n")+"\n")
}

// replicasTimeout bounds what a queue out of reach may delay the status by.
const replicasTimeout = 2 * time.Second

func (h *handler) status(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), replicasTimeout)
	defer cancel()
	s := h.Status()
	replicas, err := h.Queue.Replicas(ctx)
	if err != nil {
		s.ReplicasError = err.Error()
	}
	s.Replicas = compareReplicas(replicas)
	reply(w, http.StatusOK, s)
}

// compareReplicas says which replicas lag.
func compareReplicas(replicas []bellhop.Replica) []ReplicaStatus {
	var newest bellhop.Replica
	for _, r := range replicas {
		if r.Loaded.After(newest.Loaded) {
			newest = r
		}
	}
	out := make([]ReplicaStatus, len(replicas)) // [] and not null
	for i, r := range replicas {
		out[i] = ReplicaStatus{Replica: r, Lagging: r.ConfigHash != newest.ConfigHash}
	}
	return out
}

// list is the form of every list; next is empty on the last page.
type list[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"`
}

func newList[T any](items []T, next string) list[T] {
	if items == nil {
		items = []T{} // [] and not null
	}
	return list[T]{items, next}
}

type endpointView struct {
	Name         string               `json:"name"`
	Source       string               `json:"source"`
	Verification bellhop.Verification `json:"verification"`
	// URLs are full when the public URL is known, else paths.
	URLs       []string             `json:"urls"`
	Events     []string             `json:"events,omitempty"`
	When       string               `json:"when,omitempty"`
	Conditions []notifier.Condition `json:"conditions"`
	Last       *receiver.Seen       `json:"lastRequest,omitempty"`
}

func (h *handler) endpoints(w http.ResponseWriter, r *http.Request) {
	s := h.snapshot()
	loaded := h.Status().Config.Loaded
	all := make([]endpointView, 0, len(s.Endpoints))
	for _, ep := range s.Endpoints {
		v := endpointView{Name: ep.Name, Source: ep.Kind.Name, Verification: ep.Verification, Events: ep.Events, Last: h.Receiver.Last(ep),
			Conditions: []notifier.Condition{{Type: "Ready", Status: "True", Reason: "Configured", Message: "the endpoint serves", LastTransitionTime: loaded}}}
		if ep.Suspend {
			c := &v.Conditions[0]
			c.Status, c.Reason, c.Message = "False", "Suspended", "the configuration says suspend: all requests are told to come back"
		}
		if ep.When != nil {
			v.When = ep.When.String()
		}
		for _, f := range ep.Fingerprints {
			v.URLs = append(v.URLs, strings.TrimSuffix(h.PublicURL, "/")+"/hook/"+f)
		}
		all = append(all, v)
	}
	pageOf(w, r, all)
}

type providerView struct {
	Name       string               `json:"name"`
	Type       string               `json:"type,omitempty"`
	Configured bool                 `json:"configured"`
	Depth      int64                `json:"depth"`
	Dead       int64                `json:"dead"`
	Oldest     time.Time            `json:"oldest,omitzero"`
	Paused     time.Time            `json:"pausedUntil,omitzero"`
	Conditions []notifier.Condition `json:"conditions"`
}

func (h *handler) providers(w http.ResponseWriter, r *http.Request) {
	s := h.snapshot()
	var all []providerView
	for _, p := range s.Providers {
		all = append(all, providerView{Name: p.Name, Type: p.Kind.Name, Configured: true})
	}
	waiting, err := h.Queue.Providers(r.Context())
	if err != nil {
		h.failed(w, "listing providers", err)
		return
	}
	for _, name := range waiting {
		if s.Provider(name) == nil {
			all = append(all, providerView{Name: name})
		}
	}
	for i := range all {
		v := &all[i]
		if c, ok := h.Notifier.Condition(v.Name); ok {
			v.Conditions = []notifier.Condition{c}
		} else {
			v.Conditions = []notifier.Condition{{Type: "Ready", Status: "False", Reason: "NotConfigured", Message: "deliveries wait for a provider that is not configured any more: add it again before BELLHOP_ORPHAN_GRACE is over"}}
		}
		stats, err := h.Queue.Stats(r.Context(), v.Name)
		if err != nil {
			h.failed(w, "reading the numbers of provider "+strconv.Quote(v.Name), err)
			return
		}
		v.Depth, v.Dead, v.Oldest, v.Paused = stats.Depth, stats.Dead, stats.Oldest, stats.PausedUntil
	}
	pageOf(w, r, all)
}

type routeView struct {
	Name string   `json:"name"`
	From []string `json:"from,omitempty"`
	When string   `json:"when,omitempty"`
	To   []string `json:"to"`
}

func (h *handler) routes(w http.ResponseWriter, r *http.Request) {
	var all []routeView
	for _, rule := range h.snapshot().Routes {
		v := routeView{Name: rule.Name, From: rule.From, To: rule.To}
		if rule.When != nil {
			v.When = rule.When.String()
		}
		all = append(all, v)
	}
	pageOf(w, r, all)
}

func (h *handler) requests(w http.ResponseWriter, r *http.Request) {
	pageOf(w, r, h.Receiver.Requests(1000))
}

func (h *handler) events(w http.ResponseWriter, r *http.Request) {
	p, ok := page(w, r)
	if !ok {
		return
	}
	events, next, err := h.Queue.Events(r.Context(), p)
	if err != nil {
		h.failed(w, "listing events", err)
		return
	}
	reply(w, http.StatusOK, newList(events, next))
}

func (h *handler) event(w http.ResponseWriter, r *http.Request) {
	e, err := h.Queue.Event(r.Context(), r.PathValue("id"))
	if err != nil {
		h.failed(w, "reading the event", err)
		return
	}
	body, err := e.JSON()
	if err != nil {
		h.failed(w, "reading the event", err)
		return
	}
	reply(w, http.StatusOK, json.RawMessage(body))
}

func (h *handler) replay(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Providers []string `json:"providers"`
	}
	if !read(w, r, &in) {
		return
	}
	id := r.PathValue("id")
	e, err := h.Queue.Event(r.Context(), id)
	if err != nil {
		h.failed(w, "reading the event", err)
		return
	}
	to, why := h.targets(e, in.Providers)
	if why != "" {
		fail(w, http.StatusUnprocessableEntity, why)
		return
	}
	ids, err := h.Queue.Replay(r.Context(), id, to)
	if err != nil {
		h.failed(w, "replaying the event", err)
		return
	}
	reply(w, http.StatusAccepted, map[string]any{"deliveries": ids})
}

// targets are the named providers, or those that today's routes give the event.
func (h *handler) targets(e *bellhop.Event, named []string) (to []bellhop.Target, why string) {
	s := h.snapshot()
	var routed []bellhop.Target
	for _, ep := range s.Endpoints {
		if ep.Name == e.Endpoint {
			routed, _ = ep.Plan.Targets(e) // a condition that fails at run time does not match
		}
	}
	if len(named) == 0 {
		if len(routed) == 0 {
			return nil, "no route wants this event now: name the providers to replay it to"
		}
		return routed, ""
	}
	for _, name := range named {
		if s.Provider(name) == nil {
			return nil, "no provider " + strconv.Quote(name) + " is configured"
		}
		t := bellhop.Target{Provider: name}
		for _, r := range routed {
			if r.Provider == name {
				t = r
			}
		}
		to = append(to, t)
	}
	return to, ""
}

func (h *handler) deliveries(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	f := bellhop.DeliveryFilter{Event: q.Get("event"), Provider: q.Get("provider"), State: bellhop.DeliveryState(q.Get("state"))}
	switch f.State {
	case "", bellhop.Waiting, bellhop.Delivered, bellhop.Dead:
	default:
		fail(w, http.StatusBadRequest, "state is waiting, delivered or dead")
		return
	}
	p, ok := page(w, r)
	if !ok {
		return
	}
	ds, next, err := h.Queue.Deliveries(r.Context(), f, p)
	if err != nil {
		h.failed(w, "listing deliveries", err)
		return
	}
	reply(w, http.StatusOK, newList(ds, next))
}

func (h *handler) dead(w http.ResponseWriter, r *http.Request) {
	p, ok := page(w, r)
	if !ok {
		return
	}
	ds, next, err := h.Queue.Deliveries(r.Context(), bellhop.DeliveryFilter{Provider: r.URL.Query().Get("provider"), State: bellhop.Dead}, p)
	if err != nil {
		h.failed(w, "listing dead deliveries", err)
		return
	}
	reply(w, http.StatusOK, newList(ds, next))
}

// each does something to named dead deliveries, or to all of them.
func (h *handler) each(do func(ctx context.Context, ids ...string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			IDs []string `json:"ids"`
			All bool     `json:"all"`
		}
		if !read(w, r, &in) {
			return
		}
		if in.All == (len(in.IDs) > 0) {
			fail(w, http.StatusBadRequest, `name the deliveries as "ids", or say "all": true`)
			return
		}
		done := len(in.IDs)
		if !in.All {
			if err := do(r.Context(), in.IDs...); err != nil {
				h.failed(w, "changing dead deliveries", err)
				return
			}
			reply(w, http.StatusOK, map[string]int{"done": done})
			return
		}
		// What dies meanwhile is left alone: each round takes from what it was shown, and there are as many
		// rounds as there were pages when it began.
		p := bellhop.Page{Limit: 1000}
		for {
			ds, next, err := h.Queue.Deliveries(r.Context(), bellhop.DeliveryFilter{State: bellhop.Dead}, p)
			if err != nil {
				h.failed(w, "listing dead deliveries", err)
				return
			}
			ids := make([]string, len(ds))
			for i, d := range ds {
				ids[i] = d.ID
			}
			if len(ids) > 0 {
				// One that is no longer dead was retried or dropped by someone else: what was wanted.
				if err := do(r.Context(), ids...); err != nil && !errors.Is(err, bellhop.ErrNotFound) {
					h.failed(w, "changing dead deliveries", err)
					return
				}
			}
			done += len(ids)
			if next == "" {
				break
			}
			p.Cursor = next
		}
		reply(w, http.StatusOK, map[string]int{"done": done})
	}
}

// snapshot is the configuration that serves, an empty one before the first.
func (h *handler) snapshot() *config.Snapshot {
	if s := h.Receiver.Snapshot(); s != nil {
		return s
	}
	return &config.Snapshot{}
}

const defaultLimit, maxLimit = 100, 1000

// page reads limit and cursor; it answers itself when they are wrong.
func page(w http.ResponseWriter, r *http.Request) (bellhop.Page, bool) {
	p := bellhop.Page{Limit: defaultLimit, Cursor: r.URL.Query().Get("cursor")}
	if v := r.URL.Query().Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			fail(w, http.StatusBadRequest, "limit is a number from 1 to 1000")
			return p, false
		}
		p.Limit = min(n, maxLimit)
	}
	return p, true
}

// pageOf answers with a page of a list that is held in memory; its cursor is a position.
func pageOf[T any](w http.ResponseWriter, r *http.Request, all []T) {
	p, ok := page(w, r)
	if !ok {
		return
	}
	start := 0
	if p.Cursor != "" {
		n, err := strconv.Atoi(p.Cursor)
		if err != nil || n < 0 {
			fail(w, http.StatusBadRequest, "cursor is what the page before gave as next")
			return
		}
		start = min(n, len(all))
	}
	end := min(start+p.Limit, len(all))
	next := ""
	if end < len(all) {
		next = strconv.Itoa(end)
	}
	reply(w, http.StatusOK, newList(all[start:end], next))
}

// read decodes a small JSON body; an empty one leaves in as it is.
func read(w http.ResponseWriter, r *http.Request, in any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
	d.DisallowUnknownFields()
	if err := d.Decode(in); err != nil && !errors.Is(err, io.EOF) {
		fail(w, http.StatusBadRequest, "reading the request: "+err.Error())
		return false
	}
	return true
}

func (h *handler) failed(w http.ResponseWriter, doing string, err error) {
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, bellhop.ErrNotFound):
		status = http.StatusNotFound
	case errors.Is(err, bellhop.ErrUnavailable):
		status = http.StatusServiceUnavailable
	default:
		h.Logger.Error("answering the operator", "doing", doing, "error", err)
	}
	fail(w, status, doing+": "+err.Error())
}

func fail(w http.ResponseWriter, status int, message string) {
	reply(w, status, map[string]string{"error": message})
}

func reply(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "encoding the answer: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // the peer may be gone
}

func text(w http.ResponseWriter, status int, s string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(s))
}
