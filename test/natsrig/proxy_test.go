package natsrig

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startEcho is a server of a cluster as far as a Proxy is concerned.
func startEcho(t *testing.T) *Cluster {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				io.Copy(conn, conn)
			}()
		}
	}()
	return &Cluster{Servers: []*Server{{Address: l.Addr().String()}}}
}

func startProxy(t *testing.T) *Proxy {
	t.Helper()
	p, err := NewProxy(startEcho(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func dial(t *testing.T, p *Proxy) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.URL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func write(t *testing.T, conn net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(conn, s); err != nil {
		t.Fatal(err)
	}
}

// read wants exactly this.
func read(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(time.Minute))
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

func readReset(t *testing.T, conn net.Conn) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read: %v", err)
	}
}

func TestProxyPassesOnTheEnd(t *testing.T) {
	t.Parallel()
	conn := dial(t, startProxy(t))
	write(t, conn, "the last words")
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != "the last words" {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestProxyBlackhole(t *testing.T) {
	t.Parallel()
	p := startProxy(t)
	conn := dial(t, p)
	write(t, conn, "before")
	read(t, conn, "before")
	p.Blackhole()
	p.Blackhole()
	late := dial(t, p)
	for _, c := range []net.Conn{conn, late} {
		write(t, c, "meanwhile")
		c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if n, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("read %d bytes, %v", n, err)
		}
	}
	p.Heal()
	p.Heal()
	read(t, conn, "meanwhile")
	read(t, late, "meanwhile")
}

func TestProxyReset(t *testing.T) {
	t.Parallel()
	p := startProxy(t)
	conn := dial(t, p)
	write(t, conn, "before")
	read(t, conn, "before")
	p.Reset()
	readReset(t, conn)
	// A new one may be reset before its making is through.
	if conn, err := net.Dial("tcp", p.listeners[0].Addr().String()); err == nil {
		defer conn.Close()
		readReset(t, conn)
	} else if !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
	p.Heal()
	conn = dial(t, p)
	write(t, conn, "after")
	read(t, conn, "after")
}

func TestProxySlow(t *testing.T) {
	t.Parallel()
	p := startProxy(t)
	conn := dial(t, p)
	const delay = 20 * time.Millisecond
	p.Slow(delay)
	began := time.Now()
	write(t, conn, "there and back")
	read(t, conn, "there and back")
	if took := time.Since(began); took < 2*delay {
		t.Errorf("there and back in %v", took)
	}
	p.Heal()
	write(t, conn, "at once")
	read(t, conn, "at once")
}
