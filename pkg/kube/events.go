package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
)

// Limits of an Event's fields, in bytes.
// https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
const (
	MaxNote     = 1024
	maxInstance = 128
	maxPrefix   = 236 // of its name, which is 253 with a dot and 16 digits
)

// controller is who reports.
const controller = "bellhop.dev/bellhop"

// Pace of the Events. An Event that says what one of the last ten minutes said is counted on that one, so that a
// provider that comes and goes makes one Event, and few requests. Burst and pace are each Reason's own: many providers
// in trouble do not crowd out a broken configuration.
const (
	sameFor      = 10 * time.Minute
	eventBurst   = 20
	eventEvery   = 10 * time.Second
	eventBacklog = 64
	eventTimeout = 10 * time.Second
	eventTries   = 4
	eventPause   = time.Second // before the second try; doubled for each further one
	maxPause     = 30 * time.Second
)

// Event is one thing to tell.
type Event struct {
	Warning bool
	// Reason is why in one word, such as ConfigInvalid; Action is what Bellhop was doing, such as Reload.
	Reason, Action string
	// Note is for people. What is longer than MaxNote bytes is cut.
	Note string
}

// Events writes Kubernetes Events about one ConfigMap. Telling never waits for the API; what the API does not
// take is dropped, and that is logged once until it takes one again.
type Events struct {
	cluster   *Cluster
	configMap string
	instance  string
	logger    *slog.Logger

	backlog chan Event
	cancel  context.CancelFunc
	ended   chan struct{}

	// What follows is the sender's alone.
	limiters map[string]*rate.Limiter // by Reason, of which there are few
	series   map[told]*series
	silent   bool // the log knows that Events are not taken
}

// told is what one Event says, and about which of the ConfigMaps that had the name one after the other.
type told struct {
	Event
	uid types.UID
}

// series is an Event that was written.
type series struct {
	name  string
	count int
	last  time.Time
}

// Events begins to write Events about the ConfigMap of Bellhop's own namespace; instance is who reports, such
// as the pod's name. Stop ends it.
func (c *Cluster) Events(configMap, instance string) *Events {
	ctx, cancel := context.WithCancel(context.Background())
	e := &Events{
		cluster: c, configMap: configMap, instance: httpsend.Cut(instance, maxInstance, httpsend.Bytes), logger: c.options.Logger,
		backlog: make(chan Event, eventBacklog), cancel: cancel, ended: make(chan struct{}),
		limiters: map[string]*rate.Limiter{}, series: map[told]*series{},
	}
	go e.run(ctx)
	return e
}

// Tell puts an Event in line, unless the line is full: then it is dropped. A nil Events tells nobody.
func (e *Events) Tell(event Event) {
	if e == nil {
		return
	}
	event.Note = httpsend.Cut(event.Note, MaxNote, httpsend.Bytes)
	select {
	case e.backlog <- event:
	default:
		e.logger.Debug("a Kubernetes Event was dropped: too many wait", "reason", event.Reason)
	}
}

// Stop drops what was not written yet.
func (e *Events) Stop() {
	e.cancel()
	<-e.ended
}

func (e *Events) run(ctx context.Context) {
	defer close(e.ended)
	for {
		select {
		case <-ctx.Done():
			return
		case event := <-e.backlog:
			if !e.allow(event.Reason) {
				e.logger.Debug("a Kubernetes Event was dropped: there were too many", "reason", event.Reason)
				continue
			}
			e.noteOutcome(ctx, e.deliver(ctx, event))
		}
	}
}

func (e *Events) allow(reason string) bool {
	limiter := e.limiters[reason]
	if limiter == nil {
		limiter = rate.NewLimiter(rate.Every(eventEvery), eventBurst)
		e.limiters[reason] = limiter
	}
	return limiter.Allow()
}

// noteOutcome logs the first Event that was not taken.
func (e *Events) noteOutcome(ctx context.Context, err error) {
	switch {
	case err == nil:
		e.silent = false
	case e.silent || ctx.Err() != nil:
	default:
		e.silent = true
		e.logger.Info("Kubernetes Events are not written", "configMap", e.configMap, "error", err)
	}
}

// deliver writes an Event, trying again where that may help.
func (e *Events) deliver(ctx context.Context, event Event) error {
	pause := eventPause
	for try := 1; ; try++ {
		err := e.write(ctx, event, time.Now())
		if err == nil || try == eventTries || !healing(err) {
			return err
		}
		wait := pause
		if asked, ok := bellhop.RetryDelay(err); ok {
			wait = min(max(asked, wait), maxPause)
		}
		pause *= 2
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
	}
}

// healing reports whether a request may succeed a moment later. Where there is no API or no permission, it will
// not.
func healing(err error) bool {
	return !bellhop.IsPermanent(err) && !errors.Is(err, bellhop.ErrNotFound) && !errors.Is(err, errDenied) && !errors.Is(err, errNoAPI)
}

// write creates the Event, or counts it on an earlier one.
func (e *Events) write(ctx context.Context, event Event, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, eventTimeout)
	defer cancel()
	conn, err := e.cluster.connect()
	if err != nil {
		return err
	}
	for known, s := range e.series {
		if now.Sub(s.last) > sameFor {
			delete(e.series, known)
		}
	}
	collection := []string{"/apis/events.k8s.io/v1/namespaces", conn.namespace, "events"}
	about := told{event, e.uid(ctx, conn)}
	if s := e.series[about]; s != nil {
		body, err := json.Marshal(map[string]any{"series": seriesPatch{s.count + 1, metav1.NewMicroTime(now)}})
		if err != nil {
			return err
		}
		err = conn.raw.Patch(types.MergePatchType).AbsPath(append(collection, s.name)...).Body(body).Do(ctx).Error()
		if err == nil {
			s.count++
			s.last = now
			return nil
		}
		if err = refused("counting a Kubernetes Event", err); !errors.Is(err, bellhop.ErrNotFound) {
			return err
		}
		delete(e.series, about) // it has expired
	}
	name := strings.TrimRight(e.configMap[:min(len(e.configMap), maxPrefix)], "-.") + "." + strconv.FormatInt(now.UnixNano(), 16)
	body, err := json.Marshal(e.object(about, name, conn.namespace, now))
	if err != nil {
		return err
	}
	if err := conn.raw.Post().AbsPath(collection...).SetHeader("Content-Type", "application/json").Body(body).Do(ctx).Error(); err != nil {
		return refused("writing a Kubernetes Event", err)
	}
	e.series[about] = &series{name, 1, now}
	return nil
}

// onlyMetadata asks for an object without its content.
// https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-partial-object-metadata
const onlyMetadata = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

// uid is the ConfigMap's, by which `kubectl describe` finds the Events about it. Empty if it cannot be read, such as
// without permission: the Event is written all the same.
func (e *Events) uid(ctx context.Context, conn *connection) types.UID {
	var o metav1.PartialObjectMetadata
	body, err := conn.raw.Get().AbsPath("/api/v1/namespaces", conn.namespace, "configmaps", e.configMap).SetHeader("Accept", onlyMetadata).DoRaw(ctx)
	if err == nil {
		err = json.Unmarshal(body, &o)
	}
	if err != nil {
		e.logger.Debug("a Kubernetes Event is written without the ConfigMap's UID", "configMap", e.configMap, "error", err)
		return ""
	}
	return o.UID
}

// refused says what was being done, and whether it is not permitted.
func refused(doing string, err error) error {
	if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
		return fmt.Errorf("%s: %w: grant the verbs create and patch on events of events.k8s.io to Bellhop's service account: %w", doing, errDenied, classed(err))
	}
	return fmt.Errorf("%s: %w", doing, classed(err))
}

// eventObject is an Event of events.k8s.io/v1.
// https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
type eventObject struct {
	APIVersion          string           `json:"apiVersion"`
	Kind                string           `json:"kind"`
	Metadata            eventMetadata    `json:"metadata"`
	EventTime           metav1.MicroTime `json:"eventTime"`
	Type                string           `json:"type"` // Normal or Warning
	Reason              string           `json:"reason"`
	Action              string           `json:"action"`
	Note                string           `json:"note"`
	Regarding           eventSubject     `json:"regarding"`
	ReportingController string           `json:"reportingController"`
	ReportingInstance   string           `json:"reportingInstance"`
}

type eventMetadata struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
}

type eventSubject struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Namespace  string    `json:"namespace"`
	Name       string    `json:"name"`
	UID        types.UID `json:"uid,omitempty"`
}

// seriesPatch tells how often an Event came, from 2, and when last.
type seriesPatch struct {
	Count            int              `json:"count"`
	LastObservedTime metav1.MicroTime `json:"lastObservedTime"`
}

func (e *Events) object(about told, name, namespace string, now time.Time) *eventObject {
	kind := "Normal"
	if about.Warning {
		kind = "Warning"
	}
	return &eventObject{
		APIVersion: "events.k8s.io/v1", Kind: "Event",
		Metadata:  eventMetadata{Name: name, Namespace: namespace},
		EventTime: metav1.NewMicroTime(now), Type: kind, Reason: about.Reason, Action: about.Action, Note: about.Note,
		Regarding:           eventSubject{APIVersion: "v1", Kind: "ConfigMap", Namespace: namespace, Name: e.configMap, UID: about.uid},
		ReportingController: controller, ReportingInstance: e.instance,
	}
}
