package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/bellhop-dev/bellhop/test/natsrig"
	"github.com/bellhop-dev/bellhop/test/rig"
)

// referenceSubject is that of the references' stream.
const referenceSubject = "reference"

// sustainedRound is the least time of a round: for a few seconds three copies of everything go to the page cache, at a
// rate that no disk keeps up.
const sustainedRound = 10 * time.Second

// jetstream holds Bellhop on a cluster of three servers against what can be had from the same servers: a
// bare loop of publishing, and an HTTP handler that does nothing else.
func (b *bench) jetstream(ctx context.Context) (err error) {
	program, err := natsrig.Build(ctx, b.dir)
	if err != nil {
		return err
	}
	cluster, err := natsrig.Start(ctx, natsrig.Options{Program: program, Dir: b.dir, Servers: 3, Log: b.log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Stop()) }()
	if err := b.publish(ctx, cluster); err != nil {
		return err
	}
	return b.distributedLag(ctx, cluster)
}

// publish measures accepting.
func (b *bench) publish(ctx context.Context, cluster *natsrig.Cluster) (err error) {
	sink := holdBack()
	defer sink.Close()
	c := rig.Configuration{Keys: rig.NewKeys(1), Providers: []string{sink.URL}}
	js, disconnect, err := connect(cluster.URL())
	if err != nil {
		return err
	}
	defer disconnect()
	// The same as Bellhop's, but for what is too old to matter here.
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{
		Name: "REFERENCE", Subjects: []string{referenceSubject}, Replicas: 3, AllowDirect: true, MaxBytes: 1 << 30,
	}); err != nil {
		return err
	}
	referenceURL, stop, err := b.startReference(ctx, c.Keys[0], "-nats", cluster.URL())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	d, err := b.start(ctx, "jetstream", &c, "BELLHOP_QUEUE="+cluster.URL()+"?replicas=3")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Stop()) }()
	handler, err := newHooks([]string{referenceURL}, c.Keys, 256)
	if err != nil {
		return err
	}
	hooks, err := newHooks([]string{d.HookURL(c.Keys[0])}, c.Keys, 256)
	if err != nil {
		return err
	}
	bellhop := b.server("bellhop", hooks)

	sustained := *b
	sustained.round = max(b.round, sustainedRound)
	ratio, loopRate, rate, err := sustained.compare(ctx, publishLoop(js, b.connections), bellhop)
	if err != nil {
		return err
	}
	b.report("accepting on JetStream, against bare PublishAsync", ratio >= 0.6, "at least 0.6", "%.3f (%.0f/s to %.0f/s)", ratio, rate, loopRate)
	ratio, handlerRate, rate, err := sustained.compare(ctx, b.server("reference", handler), bellhop)
	if err != nil {
		return err
	}
	b.tell("accepting on JetStream, against the reference that publishes", "%.3f (%.0f/s to %.0f/s)", ratio, rate, handlerRate)
	return nil
}

func connect(url string) (_ jetstream.JetStream, disconnect func(), err error) {
	conn, err := nats.Connect(url)
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(conn)
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return js, conn.Close, nil
}

// publishLoop is the least: no HTTP, no signature, no fan-out. As many messages are in flight as the load of
// the others has connections, and their bodies are the same.
func publishLoop(js jetstream.JetStream, inFlight int) contender {
	bodies := make([][]byte, 256)
	for i := range bodies {
		bodies[i] = rig.Push(pushSize)
	}
	return contender{"loop", func(ctx context.Context, d time.Duration) (float64, error) {
		// One more is in the hands of each side of the channel.
		pending := make(chan jetstream.PubAckFuture, max(inFlight-2, 0))
		failed := make(chan error, 1)
		go func() {
			var failure error
			for f := range pending {
				failure = errors.Join(failure, acknowledged(ctx, f))
			}
			failed <- failure
		}()
		start, n := time.Now(), 0
		var err error
		for ; err == nil && ctx.Err() == nil && time.Since(start) < d; n++ {
			var f jetstream.PubAckFuture
			if f, err = js.PublishAsync(referenceSubject, bodies[n%len(bodies)]); err == nil {
				pending <- f
			}
		}
		close(pending)
		err = errors.Join(err, <-failed)
		return float64(n) / time.Since(start).Seconds(), err
	}}
}

// publishAndWait is what a handler has to do before it answers.
func publishAndWait(js jetstream.JetStream) func(body []byte) error {
	return func(body []byte) error {
		f, err := js.PublishAsync(referenceSubject, body)
		if err != nil {
			return err
		}
		return acknowledged(context.Background(), f)
	}
}

func acknowledged(ctx context.Context, f jetstream.PubAckFuture) error {
	select {
	case <-f.Ok():
		return nil
	case err := <-f.Err():
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// distributedLag measures the time from acceptance to delivery, and the processor time of an event on all its
// way: the base for saying what more machines would bring.
func (b *bench) distributedLag(ctx context.Context, cluster *natsrig.Cluster) (err error) {
	const perSecond, events = 500, 5_000
	before, err := processor(cluster)
	if err != nil {
		return err
	}
	// A prefix of its own: what the destination of the other one held back is not in the way.
	steady, err := b.steady(ctx, "jetstream-lag", perSecond, events, "BELLHOP_QUEUE="+cluster.URL()+"?prefix=lag&replicas=3")
	if err != nil {
		return err
	}
	after, err := processor(cluster)
	if err != nil {
		return err
	}
	b.tell(fmt.Sprintf("accepted to delivered on JetStream at %d/s, p99", perSecond), "%v (p50 %v, max %v)",
		rig.Percentile(steady.lags, 99), rig.Percentile(steady.lags, 50), rig.Percentile(steady.lags, 100))
	b.tell("processor time of an event on JetStream", "%v of Bellhop, %v of the three servers",
		(steady.processor / events).Round(time.Microsecond), ((after - before) / events).Round(time.Microsecond))
	return nil
}

// processor is the processor time of all servers so far.
func processor(c *natsrig.Cluster) (sum time.Duration, err error) {
	for _, s := range c.Servers {
		d, err := s.Processor()
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}
