// Demo serves Bellhop on this machine with a small configuration and generated keys, and prints a line that
// sends it a signed GitHub push. `make run` builds and runs it.
//
// Everything lives in one directory (.demo, which git ignores), so that a second run finds the keys, the
// edited configuration and the queue of the first.
package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

//go:embed bellhop.yaml
var configuration []byte

//go:embed push.json
var push []byte

func main() {
	bellhop := flag.String("bellhop", "bin/bellhop", "the program to run")
	dir := flag.String("dir", ".demo", "directory for the configuration, the keys and the queue")
	flag.Parse()
	if err := run(*bellhop, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(bellhop, dir string) error {
	key, err := prepare(dir)
	if err != nil {
		return err
	}
	listen, err := address("127.0.0.1:8080", "the receiver")
	if err != nil {
		return err
	}
	admin, err := address("127.0.0.1:9090", "the admin port")
	if err != nil {
		return err
	}
	queue, err := filepath.Abs(filepath.Join(dir, "queue"))
	if err != nil {
		return err
	}

	cmd := exec.Command(bellhop, "serve")
	cmd.Env = append(os.Environ(),
		"BELLHOP_CONFIG="+filepath.Join(dir, "config"),
		"BELLHOP_SECRETS="+filepath.Join(dir, "secrets"),
		"BELLHOP_QUEUE=file://"+queue,
		"BELLHOP_LISTEN="+listen,
		"BELLHOP_ADMIN_LISTEN="+admin,
		"BELLHOP_PUBLIC_URL=http://"+listen,
		"BELLHOP_LOG_FORMAT=text",
	)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	// A process group of its own: Ctrl-C reaches Bellhop through us, once, and not from the terminal as well.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", bellhop, err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ready := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go awaitReady(ctx, "http://"+admin+"/readyz", ready)

	stopping := false
	for {
		select {
		case <-ready:
			ready = nil
			fmt.Printf("\nBellhop is ready. Send it a signed GitHub push from another terminal, in this directory:\n\n"+
				"  %s send --source github --event push --key %s --file %s --url http://%s/hook/%s\n\n"+
				"It is printed here once it is delivered. The configuration is %s: change it while Bellhop runs.\n"+
				"Ctrl-C stops; the queue stays.\n\n",
				bellhop, filepath.Join(dir, "secrets", "github.key"), filepath.Join(dir, "push.json"), listen,
				fingerprint(key), filepath.Join(dir, "config", "bellhop.yaml"))
		case s := <-signals:
			stopping = true
			if err := cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return fmt.Errorf("stopping bellhop: %w", err)
			}
		case err := <-exited:
			if err != nil && !stopping {
				return fmt.Errorf("bellhop ended: %w", err)
			}
			return nil
		}
	}
}

// prepare fills the directory with what is not there yet, and returns the key of the GitHub endpoint.
func prepare(dir string) (key []byte, err error) {
	for _, d := range []string{"config", "secrets", "queue"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return nil, err
		}
	}
	for name, content := range map[string][]byte{
		"config/bellhop.yaml":   configuration,
		"push.json":             push,
		"secrets/github.key":    newKey(),
		"secrets/dockerhub.key": newKey(),
	} {
		if err := create(filepath.Join(dir, name), content); err != nil {
			return nil, err
		}
	}
	return os.ReadFile(filepath.Join(dir, "secrets", "github.key"))
}

// create writes a file unless there is one.
func create(name string, content []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

// newKey is what `bellhop keygen` prints: 32 random bytes in hex.
func newKey() []byte {
	b := make([]byte, 32)
	rand.Read(b)
	return hex.AppendEncode(nil, b)
}

// fingerprint is the last element of the endpoint's URL: what `sha256sum` prints of the key file.
func fingerprint(key []byte) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:])
}

// address is the wanted one, or another port of the same host when that one is taken.
func address(want, what string) (string, error) {
	l, err := net.Listen("tcp", want)
	if errors.Is(err, syscall.EADDRINUSE) {
		host, _, _ := strings.Cut(want, ":")
		if l, err = net.Listen("tcp", host+":0"); err == nil {
			fmt.Printf("%s is taken; %s listens on %s instead\n", want, what, l.Addr())
		}
	}
	if err != nil {
		return "", fmt.Errorf("finding a port for %s: %w", what, err)
	}
	return l.Addr().String(), l.Close()
}

// awaitReady closes ready once the URL answers 200.
func awaitReady(ctx context.Context, url string, ready chan<- struct{}) {
	client := http.Client{Timeout: time.Second}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return
		}
		if resp, err := client.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				close(ready)
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
