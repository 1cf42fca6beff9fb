package bellhop

import (
	"context"
	"iter"
	"time"
)

// Post is what one verified request brings. Once Put has returned, all of it is stored.
type Post struct {
	// Key recognises the same delivery when it comes again, scoped to its endpoint by the caller. Empty:
	// never a duplicate.
	Key string
	// Window is how long Key is remembered.
	Window time.Duration
	// Items are the events in the sender's order, at least one.
	Items []Item
}

// Item is one event and where it goes.
type Item struct {
	Event *Event
	To    []Target
}

// Target is where an event goes: a provider, in a route's words.
type Target struct {
	Provider string `json:"provider"`
	// Route is the route that asked for it; empty for the implied route of a configuration without routes.
	Route string `json:"route,omitzero"`
}

// Receipt says what became of a Post.
type Receipt struct {
	// Duplicate: the key was known; nothing was stored and IDs are the first events'. Those may have left the history
	// before the key's time was over; IDs may be none then.
	Duplicate bool
	IDs       []string
}

// Queue holds verified events and their deliveries until each is accepted or dead, and a history after
// that. An event is stored once, deliveries point to it. At least once: a delivery may be taken again after
// a crash, an accepted event is never lost.
type Queue interface {
	// Put returns once the post is durable. It keeps nothing of p. Errors that heal by themselves wrap
	// ErrUnavailable. They do not say that nothing was stored: the same post again is a duplicate then, and what was
	// missing of the first is made up for.
	Put(ctx context.Context, p *Post) (Receipt, error)
	// Take blocks until a delivery to the provider is due, and leases it to the caller. Due deliveries come
	// in order of their due time, as far as the engine looks ahead. Of several processes that share the store one at a
	// time is given a provider's deliveries, until it has no takers any more, closes the queue or dies; what it had in
	// hand then comes first to the next. It returns ctx's error when ctx ends.
	Take(ctx context.Context, provider string) (Lease, error)
	// Pause holds back all deliveries of a provider until then; an earlier end of an existing pause does not
	// shorten it. A zero time lifts it. The pause outlives a restart.
	Pause(ctx context.Context, provider string, until time.Time) error

	// Recall returns the memo that a delivery of the provider left under the key; false if there is none, or it
	// has expired.
	Recall(ctx context.Context, provider, key string) (Memo, bool, error)

	// Stats are a provider's numbers, without scanning.
	Stats(ctx context.Context, provider string) (Stats, error)
	// Providers lists the providers that have deliveries waiting or dead, configured or not.
	Providers(ctx context.Context) ([]string, error)

	// Event returns a stored event with its Raw body; ErrNotFound if it is not or no longer there.
	Event(ctx context.Context, id string) (*Event, error)
	// Events lists events, newest first, without Raw.
	Events(ctx context.Context, p Page) (events []*Event, next string, err error)
	// Deliveries lists deliveries that match, newest event first.
	Deliveries(ctx context.Context, f DeliveryFilter, p Page) (ds []*Delivery, next string, err error)

	// Retry makes dead deliveries due now, with a fresh count of attempts. ErrNotFound if one is not dead;
	// the others are retried all the same.
	Retry(ctx context.Context, ids ...string) error
	// Drop forgets dead deliveries for good.
	Drop(ctx context.Context, ids ...string) error
	// Replay delivers a stored event again to the given targets, whatever became of it before. It returns
	// the deliveries' ids.
	Replay(ctx context.Context, eventID string, to []Target) ([]string, error)

	// Announce tells all that share the store of this process, until Close or for ReplicaLifetime: it is to be
	// repeated well within that.
	Announce(ctx context.Context, r Replica) error
	// Replicas are the processes that share the store and announced themselves, by name. A store that one process
	// has to itself knows that one.
	Replicas(ctx context.Context) ([]Replica, error)

	// Export yields all that the store holds: its id, the pauses, the memos, then the events in the order in which
	// deliveries that were never tried are taken, and behind its events each duplicate key whose time is not over. Nobody
	// else may change the store meanwhile. The first error is the last that is yielded.
	Export(ctx context.Context) iter.Seq2[*Stored, error]
	// Import takes in what another store's Export yielded, in that order, and returns once it is durable. An event, a
	// key or a pause that is there already stays as it is, so that all may be imported again after an interruption. The id of
	// the other is taken on by a store that holds no events, and is an error to any other but one that has it.
	Import(ctx context.Context, parts ...*Stored) error

	// ID names the store: random, made with it, and the same for all that share it. It is empty as long as a store
	// elsewhere was never reached.
	ID() string
	// Healthy is nil if a Put would be taken now; otherwise it says why not.
	Healthy() error
	// Close hands back what is leased, makes everything durable and stops. A second Close does nothing.
	Close() error
}

// Lease is one delivery in the hands of the caller.
type Lease interface {
	Delivery() *Delivery
	// Event is the delivery's event with its Raw body; the caller may keep it.
	Event(ctx context.Context) (*Event, error)
	// Settle ends the lease. nil accepts. ErrStopping hands back, attempt uncounted. A RetryAfter error makes
	// the delivery due again after its delay, attempt uncounted; the caller pauses the provider. Permanent
	// errors make it dead. Any other error counts an attempt and makes it due again at o.Due, or dead if o.Dead.
	Settle(ctx context.Context, err error, o Outcome) error
}

// Outcome is what the notifier knows of an attempt beyond its error.
type Outcome struct {
	// Started and Took are the attempt's times.
	Started time.Time
	Took    time.Duration
	// Due is when to try again after a plain error.
	Due time.Time
	// Dead gives up after a plain error: the retries are used up.
	Dead bool
	// Note says of an accepted delivery why nothing was sent, in words for people; empty if it was.
	Note string
	// Memo is left for later deliveries of the provider, no later than the delivery is accepted: cut off between, the
	// delivery comes again and finds its own. nil for none. It takes the place of the one with the same key.
	Memo *Memo
}

// Memo is what a delivery leaves for those after it: what was sent last, so that it is not sent again.
type Memo struct {
	// Key is within the provider.
	Key   string `json:"key"`
	Value string `json:"value,omitzero"`
	// Event is the id of the event that left it; Time is when Value became so.
	Event string    `json:"event"`
	Time  time.Time `json:"time"`
	// Expires is when it is forgotten.
	Expires time.Time `json:"expires"`
}

// DuplicateKey is what a post is recognised by when it comes again.
type DuplicateKey struct {
	// Key is the Post's.
	Key string
	// IDs are those of the post's events, at least one, which need not be stored any more.
	IDs []string
	// Expires is when it is forgotten.
	Expires time.Time
}

// Stored is a part of what a store holds, on its way to another: one of an id, an event, a key, a memo, a pause.
type Stored struct {
	// ID is the store's.
	ID string
	// Event, with its Raw body, and its Deliveries, none of which is leased.
	Event      *Event
	Deliveries []*Delivery
	// Key recognises what comes again, whether its events are stored or not.
	Key *DuplicateKey
	// Provider has the Memo, or is PausedUntil.
	Provider    string
	Memo        *Memo
	PausedUntil time.Time
}

// ReplicaLifetime is how long a process counts that does not announce itself again.
const ReplicaLifetime = 30 * time.Second

// Replica is a process among those that share a store.
type Replica struct {
	// Name is its own among them.
	Name    string    `json:"name"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	// ConfigHash is that of the configuration that serves, empty before the first good one; Loaded is since when.
	ConfigHash string    `json:"configHash"`
	Loaded     time.Time `json:"loaded,omitzero"`
	// Seen is when it last announced itself, by the store's clock; the engine fills it in.
	Seen time.Time `json:"seen"`
}

// DeliveryState is where a delivery stands.
type DeliveryState string

// The states. A leased delivery is still Waiting for those who look.
const (
	Waiting   DeliveryState = "waiting"
	Delivered DeliveryState = "delivered"
	Dead      DeliveryState = "dead"
)

// Delivery is one event on its way to one provider.
type Delivery struct {
	// ID is stable over retries and replays: the event's id, a dot, the provider's name.
	ID       string        `json:"id"`
	Event    string        `json:"event"`
	Provider string        `json:"provider"`
	Route    string        `json:"route,omitzero"`
	State    DeliveryState `json:"state"`
	// Accepted is when the event was stored.
	Accepted time.Time `json:"accepted"`
	// Started is when delivering began to count against retry.maxAge: when it was accepted, retried by hand
	// or replayed.
	Started time.Time `json:"started"`
	// Due is when it is tried next; zero unless it waits.
	Due time.Time `json:"due,omitzero"`
	// Attempts counts the attempts that cost; Log keeps the last ones, those that did not cost included.
	Attempts int       `json:"attempts"`
	Log      []Attempt `json:"log,omitzero"`
	// Error is the last attempt's; Time is when the state last changed.
	Error string `json:"error,omitzero"`
	// Note says why a delivered one was not sent: a newer event came first, or the same was sent before.
	Note string    `json:"note,omitzero"`
	Time time.Time `json:"time"`
}

// Attempt is one try to send.
type Attempt struct {
	Time  time.Time     `json:"time"`
	Took  time.Duration `json:"tookNanos"`
	Error string        `json:"error,omitzero"`
}

// DeliveryID is the id of the delivery of an event to a provider.
func DeliveryID(event, provider string) string { return event + "." + provider }

// DeliveryFilter selects deliveries; empty fields match all.
type DeliveryFilter struct {
	Event    string
	Provider string
	State    DeliveryState
}

// Page selects a part of a list. Cursor is what the page before returned as next; Limit is at least 1.
type Page struct {
	Cursor string
	Limit  int
}

// Stats are one provider's numbers.
type Stats struct {
	// Depth is how many deliveries wait or are being sent; Dead how many gave up.
	Depth int64
	Dead  int64
	// Oldest is when the oldest waiting delivery was accepted (or retried, or replayed); zero if none waits.
	Oldest time.Time
	// PausedUntil is zero unless the provider is paused.
	PausedUntil time.Time
}
