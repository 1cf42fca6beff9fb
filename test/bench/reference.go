package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/queue/queuetest"
	"github.com/bellhop-dev/bellhop/test/rig"
)

// bodyPool spares the reference what a careful server spares itself.
var bodyPool = sync.Pool{New: func() any { b := make([]byte, 0, 16<<10); return &b }}

// serveReference is the least that a webhook receiver with a durable queue can do: read the body, check the
// HMAC, append to a log whose writers share each fsync or publish to JetStream, answer 202.
func serveReference(args []string) error {
	flags := flag.NewFlagSet("reference", flag.ExitOnError)
	listen := flags.String("listen", "", "address")
	keyFile := flags.String("key", "", "file with the key")
	file := flags.String("log", "", "file to append to")
	url := flags.String("nats", "", "servers to publish to, in place of the file")
	if err := flags.Parse(args); err != nil {
		return err
	}
	key, err := os.ReadFile(*keyFile)
	if err != nil {
		return err
	}
	store, closeStore, err := openStore(*file, *url)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return errors.Join(err, closeStore())
	}
	server := http.Server{Handler: reference(key, store), ReadHeaderTimeout: 10 * time.Second}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return errors.Join(err, closeStore())
	}
	return closeStore()
}

// openStore is where the reference has its bodies before it answers.
func openStore(file, url string) (store func(body []byte) error, closeStore func() error, err error) {
	if url == "" {
		log, err := queuetest.OpenGroupCommitLog(file)
		if err != nil {
			return nil, nil, err
		}
		return log.Append, log.Close, nil
	}
	js, disconnect, err := connect(url)
	if err != nil {
		return nil, nil, err
	}
	return publishAndWait(js), func() error { disconnect(); return nil }, nil
}

func reference(key []byte, store func(body []byte) error) http.Handler {
	macs := sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}
	answer := []byte(`{"result":"accepted"}` + "\n")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pooled := bodyPool.Get().(*[]byte)
		defer bodyPool.Put(pooled)
		if r.ContentLength < 0 || r.ContentLength > int64(cap(*pooled)) {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		body := (*pooled)[:r.ContentLength]
		if _, err := io.ReadFull(r.Body, body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		mac := macs.Get().(hash.Hash)
		defer macs.Put(mac)
		mac.Reset()
		mac.Write(body)
		var sum [sha256.Size]byte
		var want [len("sha256=") + 2*sha256.Size]byte
		copy(want[:], "sha256=")
		hex.Encode(want[len("sha256="):], mac.Sum(sum[:0]))
		if !hmac.Equal(want[:], []byte(r.Header.Get("X-Hub-Signature-256"))) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if err := store(body); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header()["Content-Type"] = []string{"application/json"}
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write(answer)
	})
}

// startReference starts this program as the reference server, with flags that say where to store, and returns
// its hook URL and what ends it.
func (b *bench) startReference(ctx context.Context, key []byte, store ...string) (hookURL string, stop func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	keyFile := filepath.Join(b.dir, "reference.key")
	if err := os.WriteFile(keyFile, key, 0o600); err != nil {
		return "", nil, err
	}
	addr, err := rig.FreeAddress()
	if err != nil {
		return "", nil, err
	}
	cmd := exec.Command(self, append([]string{"reference", "-listen", addr, "-key", keyFile}, store...)...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() error {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		return cmd.Wait()
	}
	if err := awaitListener(ctx, addr); err != nil {
		return "", nil, errors.Join(err, stop())
	}
	return "http://" + addr + "/hook/" + rig.Fingerprint(key), stop, nil
}

// awaitListener returns once somebody listens.
func awaitListener(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var d net.Dialer
	for {
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the reference server: %w", err)
		}
	}
}
