// Package embedded is the queue in a directory of this process: Pebble, whose write-ahead log makes one fsync
// of all posts that come while the one before is being written.
//
// What is on disk is told in keys.go, and in what form in encode.go. In memory there is for each provider the
// head of its line (lane.go), and for the history a few numbers for every 8 MiB of it (history.go); both are
// rebuilt from small keys when the queue is opened, so memory does not grow with the backlog.
//
// A Put is durable when it returns. What ends a lease is durable with the next Put, or a tenth of a second
// later: after a crash such a delivery may be taken once more, after Close it is not. A full disk is told in
// disk.go.
//
// The directory carries a marker, BELLHOP-QUEUE, with the version of what is in it. One process at a time has
// it open, and says in BELLHOP-OWNER which one; another may wait for it to end.
package embedded
