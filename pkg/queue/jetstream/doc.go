// Package jetstream is the queue in NATS JetStream, which any number of replicas share: each takes in posts, each
// delivers.
//
//	nats://HOST:PORT[,HOST:PORT…][?PARAMETER=VALUE&…]
//
// tls:// demands TLS. Before the hosts there may be USER:PASSWORD@ or TOKEN@. The parameters:
//
//	prefix       begins all names, so that several Bellhops share one NATS (bellhop)
//	replicas     how many servers keep each message (what an existing stream has, else 3, or 1 where there is no
//	             cluster); 3 survives the loss of one
//	maxBytes     how much the events may take, such as 10GiB; a full stream refuses posts
//	duplicates   how long the server recognises repeated posts at least (24h); it is lengthened to the longest window
//	             that a post asks for, where that is permitted, for what is stored from then on
//	user         the name that goes with a password in a file
//	password, token, nkey, creds     files that hold what proves who we are
//	ca, cert, key                    files for TLS: who is believed, and the client's pair
//
// Files are read at every connect, so what is in them may change; only an nkey must stay the same user's. It takes
// nats-server 2.11 or later.
//
// # Streams
//
// Two streams (names.go), created when they are missing and it is permitted. Whatever is one fact is in one place.
//
//   - EVENTS holds posts, one message each, bodies packed; it is the history, and tells duplicates by their message id.
//     The message of a post with one event is the delivery to its first target as well: its subject says so. Any other
//     delivery is a small message that points to the post.
//   - RECORDS holds the last word on all else: what became of deliveries, dead ones, memos, pauses, replicas.
//
// What waits is what a provider's consumer has not acknowledged; that is the depth. A delivery without a record was never
// tried. One that begins anew by hand gets another message, and its record makes the one before void.
//
// A Put publishes the post and waits for the quorum. Where there are more deliveries it publishes the pointers then, and
// waits again: an event is delivered one or two round trips after it came. The process that takes a post in does all of
// that; no replica is in charge of it. If it dies between the two, the sender has had no answer, and its second try
// completes the first.
//
// # Duplicates
//
// The server recognises message ids for one window, counted from when it stored them. A post's message says besides
// which key it has and when that is over, which may be earlier. A key that is imported has a message of its own, by which
// the server counts anew; the time that it says holds. If more is left of it than the server's window, that is
// lengthened; where that is not permitted the key is forgotten too early, and what comes again is delivered again. A post
// that was stored before posts said their keys is recognised, but its key is not exported.
//
// # Who delivers
//
// Each provider has one durable consumer of EVENTS with a pinned client: of all replicas that wait for its deliveries,
// the server gives them to one, as long as that one pulls. So order, rate, concurrency and pauses hold over all replicas,
// with no coordination of our own. The owner fetches a little ahead (lane.go), without bodies, and gives signs of life of
// all it has; due retries it keeps itself, later ones the server keeps.
//
// A delivery is settled by publishing what became of it, then by acknowledging it. Nothing is transactional, everything
// can be done twice: what comes again is looked up before it is handed out.
//
// Lists and numbers come from whichever server answers first, and may be moments old in a cluster; what decides anything
// is asked of the leader.
//
// # What happens when
//
//   - A replica is stopped: it settles, hands back what it holds, gives up its pins; another goes on at once, in order.
//
//   - A replica dies: its deliveries come back after six seconds, its pins end after nine; what it held comes first.
//     What it was sending just then is sent again.
//
//   - A replica is cut off: it hands out nothing that may be another's. What it was sending it records when it is back.
//
//   - A leader changes, by a fault or as NATS is upgraded: what gets no answer is tried again, a post under the same message
//     id. Another replica may own a provider after that: leaders do not tell each other of pins, nor when a delivery was
//     handed out, but when it was stored. So what was stored some seconds before gets a sign of life at once, or the next
//     leader would hand it out again; where one does, the next owner waits a moment before it looks it up. What was handed
//     out in the very moment of the change, and takes longer to send than that, may be sent twice.
//
//   - No quorum, no room, no server: Put says ErrUnavailable, quickly once it is known; Healthy says why; deliveries stop.
//     All of it heals by itself, and so does a start without a server.
//
//   - History that is dropped by size before a duplicate key's time is over: the duplicate is recognised, its events are
//     not known any more. The server tells nobody of such a key, so that it cannot be moved elsewhere.
//
//   - A configuration asks for a longer window than the server has, and the stream may not be changed: the log says so
//     once, with the command that does it. The running processes learn of it by themselves.
//
//   - A consumer is deleted by hand: it is made anew, and all that is stored is looked up before it would be sent.
//
// # Cost
//
// An event with one delivery is three messages and acknowledgements through the quorum: the post, the record, and the
// acknowledgement; a fourth, small, tells that the delivery was handed out. Each further delivery is a pointer more. A
// provider costs a Raft group, and each replica that wants its deliveries a pull every second and a half.
package jetstream
