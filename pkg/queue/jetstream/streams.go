package jetstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// safe is how many servers keep each message where the URL does not say, so that the loss of one loses nothing.
const safe = 3

// needed is the oldest server that knows pinned clients and the time to live of messages.
const needed = "2.11.0"

// streams are the streams as they have to be.
func (q *Queue) streams() []jetstream.StreamConfig {
	n := q.names
	replicas := cmp.Or(q.settings.replicas, safe)
	unbounded := int64(-1)
	maxBytes := unbounded
	if q.settings.maxBytes > 0 {
		maxBytes = int64(q.settings.maxBytes)
	}
	return []jetstream.StreamConfig{
		{
			Name: n.events(), Description: "Bellhop: events and their deliveries", Subjects: []string{n.subject("to", anyone, anyone, anyone), n.subject("chunk", anyone, anyone)},
			Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew, Storage: jetstream.FileStorage, Replicas: replicas,
			MaxBytes: maxBytes, MaxMsgsPerSubject: -1, Duplicates: q.settings.duplicates, AllowDirect: true,
		},
		{
			Name: n.records(), Description: "Bellhop: what became of deliveries", Subjects: []string{
				n.subject(kindRetry, anyone, anyone), n.subject(kindDone, anyone, anyone), n.subject(kindDead, anyone, anyone), n.subject("memo", anyone, anyone),
				n.subject("pause", anyone), n.subject("known", anyone), n.subject("alias", anyone), n.subject("replica", anyone), n.id(),
			},
			Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew, Storage: jetstream.FileStorage, Replicas: replicas,
			MaxBytes: unbounded, MaxMsgsPerSubject: 1, AllowDirect: true, AllowMsgTTL: true,
		},
	}
}

// errSettings marks what does not heal by itself.
var errSettings = errors.New("wrong settings")

// setUp creates the streams, or looks whether they are as they have to be.
func (q *Queue) setUp(ctx context.Context) error {
	if err := q.connected(); err != nil {
		return err
	}
	if version := q.nc.ConnectedServerVersion(); !atLeast(version, needed) {
		return fmt.Errorf("%w: nats-server %s is too old: install %s or later, which knows pinned clients and the time to live of messages",
			errSettings, version, needed)
	}
	for _, want := range q.streams() {
		if err := q.ensure(ctx, want); err != nil {
			return err
		}
	}
	return nil
}

func (q *Queue) ensure(ctx context.Context, want jetstream.StreamConfig) error {
	ctx, cancel := context.WithTimeout(ctx, q.o.patience)
	defer cancel()
	s, err := q.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = q.js.CreateStream(ctx, want)
		if hasCode(err, codeNoCluster) && q.settings.replicas == 0 {
			want.Replicas = 1
			q.logger.Warn("a single NATS server keeps the only copy of what is acknowledged", "stream", want.Name)
			_, err = q.js.CreateStream(ctx, want)
		}
		if err == nil {
			q.logger.Info("stream created", "stream", want.Name, "replicas", want.Replicas)
			q.learn(want)
			return nil
		}
		if !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // else another replica was first
			return q.explained(fmt.Errorf("creating stream %s: %w", want.Name, err))
		}
		s, err = q.js.Stream(ctx, want.Name)
	}
	if err != nil {
		return q.explained(fmt.Errorf("looking for stream %s: %w", want.Name, err))
	}
	is := s.CachedInfo().Config
	if is.Retention != want.Retention || is.Storage != want.Storage {
		return fmt.Errorf("%w: stream %s keeps messages by %s in %s, and must by %s in %s, which cannot be changed: give this Bellhop another ?prefix=",
			errSettings, want.Name, is.Retention, is.Storage, want.Retention, want.Storage)
	}
	if flags := q.difference(is, want); len(flags) > 0 {
		return fmt.Errorf("%w: stream %s is set otherwise than it must be; run: nats stream edit %s %s",
			errSettings, want.Name, want.Name, strings.Join(flags, " "))
	}
	grown := is
	if want.Duplicates > is.Duplicates {
		grown.Duplicates = want.Duplicates
	}
	if want.MaxBytes > is.MaxBytes && is.MaxBytes > 0 {
		grown.MaxBytes = want.MaxBytes
	}
	if grown.Duplicates != is.Duplicates || grown.MaxBytes != is.MaxBytes {
		if _, err := q.js.UpdateStream(ctx, grown); err != nil {
			q.logger.Warn("stream is not enlarged", "stream", want.Name, "error", err,
				"command", fmt.Sprintf("nats stream edit %s --dupe-window=%s --max-bytes=%d", want.Name, grown.Duplicates, grown.MaxBytes))
			grown = is
		}
	}
	q.learn(grown)
	return nil
}

// learn keeps for how long the server recognises duplicates.
func (q *Queue) learn(is jetstream.StreamConfig) {
	if is.Name == q.names.events() {
		q.window.Store(int64(is.Duplicates))
	}
}

// lacks reports whether the server recognises duplicates for less time than this, and lengthen is to be called.
func (q *Queue) lacks(window time.Duration) bool {
	if int64(window) <= q.window.Load() {
		return false
	}
	for {
		asked := q.asked.Load()
		if asked >= int64(window) {
			return false
		}
		if q.asked.CompareAndSwap(asked, int64(window)) {
			return true
		}
	}
}

// lengthen has the server recognise duplicates for so long, if it is permitted. Of two replicas that do it at once, the
// one that asks for more finds out by inspect if the other was last, and does it again at its next post.
func (q *Queue) lengthen(ctx context.Context, window time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, q.o.patience)
	defer cancel()
	s, err := q.js.Stream(ctx, q.names.events())
	if err == nil {
		if c := s.CachedInfo().Config; c.Duplicates < window {
			c.Duplicates = window
			s, err = q.js.UpdateStream(ctx, c)
		}
	}
	if q.ctx.Err() != nil {
		return
	}
	if err != nil {
		q.logger.Warn("repeated deliveries are recognised for less time than the configuration asks for", "error", q.explained(err),
			"recognised", time.Duration(q.window.Load()), "wanted", window,
			"command", fmt.Sprintf("nats stream edit %s --dupe-window=%s", q.names.events(), window))
		return
	}
	q.learn(s.CachedInfo().Config)
	q.asked.Store(0)
	q.logger.Info("repeated deliveries are recognised for longer", "recognised", time.Duration(q.window.Load()))
}

// difference are the flags of `nats stream edit` that make a stream what it must be.
func (q *Queue) difference(is, want jetstream.StreamConfig) (flags []string) {
	add := func(wrong bool, format string, args ...any) {
		if wrong {
			flags = append(flags, fmt.Sprintf(format, args...))
		}
	}
	have := make(map[string]bool)
	for _, s := range is.Subjects {
		have[s] = true
	}
	for _, s := range want.Subjects {
		if !have[s] {
			add(true, "--subjects=%s", strings.Join(want.Subjects, ","))
			break
		}
	}
	add(q.settings.replicas > 0 && is.Replicas != want.Replicas, "--replicas=%d", want.Replicas)
	add(is.MaxMsgsPerSubject != want.MaxMsgsPerSubject, "--max-msgs-per-subject=%d", want.MaxMsgsPerSubject)
	add(is.Discard != want.Discard, "--discard=%s", "new")
	add(is.DiscardNewPerSubject, "--no-discard-per-subject")
	add(is.MaxAge != 0, "--max-age=-1")
	add(is.MaxMsgs > 0, "--max-msgs=-1")
	add(!is.AllowDirect, "--allow-direct")
	add(want.AllowMsgTTL && !is.AllowMsgTTL, "--allow-msg-ttl")
	add(q.settings.maxBytes > 0 && want.MaxBytes > 0 && (is.MaxBytes <= 0 || is.MaxBytes > want.MaxBytes), "--max-bytes=%d", want.MaxBytes)
	return flags
}

// explained adds to an error what the server said by the way: it does not answer what is not permitted.
func (q *Queue) explained(err error) error {
	if hint := q.hint.Load(); hint != nil {
		return fmt.Errorf("%w: %s", err, *hint)
	}
	return err
}

// heard keeps what the server tells beside the answers.
func (q *Queue) heard(_ *nats.Conn, _ *nats.Subscription, err error) {
	if errors.Is(err, nats.ErrPermissionViolation) {
		text := err.Error()
		q.hint.Store(&text)
	}
	q.logger.Warn("queue's connection", "error", err)
}

func (q *Queue) connected() error {
	if q.nc.IsConnected() {
		return nil
	}
	if err := q.nc.LastError(); err != nil {
		return fmt.Errorf("not connected to NATS: %w", err)
	}
	return errors.New("not connected to NATS")
}

// atLeast compares versions, of which a development one is as the release.
func atLeast(version, least string) bool {
	var a, b [3]int
	_, _ = fmt.Sscanf(version, "%d.%d.%d", &a[0], &a[1], &a[2]) // what is no number is 0
	_, _ = fmt.Sscanf(least, "%d.%d.%d", &b[0], &b[1], &b[2])
	for i := range a {
		if a[i] != b[i] {
			return a[i] > b[i]
		}
	}
	return true
}
