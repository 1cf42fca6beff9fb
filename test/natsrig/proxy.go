package natsrig

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// Proxy stands between one client and all servers, and can cut them off from each other, or slow them down.
type Proxy struct {
	listeners []net.Listener
	wg        sync.WaitGroup

	mu      sync.Mutex
	flowing chan struct{} // closed while bytes pass
	refuse  bool
	delay   time.Duration
	conns   map[*net.TCPConn]struct{}
	closed  chan struct{}
}

// NewProxy listens on a port of the loopback interface for each of the cluster's servers.
func NewProxy(c *Cluster) (*Proxy, error) {
	p := &Proxy{flowing: make(chan struct{}), conns: map[*net.TCPConn]struct{}{}, closed: make(chan struct{})}
	close(p.flowing)
	for _, s := range c.Servers {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, errors.Join(err, p.Close())
		}
		p.listeners = append(p.listeners, l)
		p.wg.Go(func() { p.serve(l, s.Address) })
	}
	return p, nil
}

// URL names all servers, by the way through the proxy.
func (p *Proxy) URL() string {
	addresses := make([]string, len(p.listeners))
	for i, l := range p.listeners {
		addresses[i] = l.Addr().String()
	}
	return "nats://" + strings.Join(addresses, ",")
}

// Blackhole is a network that swallows everything: connections stay open, new ones are made, no byte passes.
// Bytes that were on their way arrive after Heal, as TCP's repetitions would.
func (p *Proxy) Blackhole() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if isClosed(p.flowing) {
		p.flowing = make(chan struct{})
	}
}

// Reset is a network whose other end is gone: all connections are reset, new ones as soon as they are made.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = true
	for conn := range p.conns {
		abort(conn)
	}
}

// Slow is a network on which bytes are on their way for so long, and up to twice that.
func (p *Proxy) Slow(delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = delay
}

// Heal ends Blackhole, Reset and Slow.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse, p.delay = false, 0
	if !isClosed(p.flowing) {
		close(p.flowing)
	}
}

// Close ends all connections.
func (p *Proxy) Close() error {
	close(p.closed)
	var problems error
	for _, l := range p.listeners {
		problems = errors.Join(problems, l.Close())
	}
	p.Reset()
	p.wg.Wait()
	return problems
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func hangUp(conn *net.TCPConn) {
	_ = conn.Close() // whoever closed it before had a reason
}

// abort closes with RST in place of FIN.
func abort(conn *net.TCPConn) {
	_ = conn.SetLinger(0) // the connection is given up either way
	hangUp(conn)
}

func (p *Proxy) serve(l net.Listener, server string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.join(conn.(*net.TCPConn), server) })
	}
}

// join copies both ways until both ends have closed, or the connection breaks.
func (p *Proxy) join(client *net.TCPConn, server string) {
	defer hangUp(client)
	if !p.add(client) {
		abort(client)
		return
	}
	defer p.remove(client)
	if !p.pass() {
		return
	}
	conn, err := net.Dial("tcp", server)
	if err != nil {
		abort(client)
		return
	}
	upstream := conn.(*net.TCPConn)
	defer hangUp(upstream)
	if !p.add(upstream) {
		return
	}
	defer p.remove(upstream)
	var both sync.WaitGroup
	both.Go(func() { p.copy(upstream, client) })
	both.Go(func() { p.copy(client, upstream) })
	both.Wait()
}

func (p *Proxy) add(conn *net.TCPConn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.refuse {
		p.conns[conn] = struct{}{}
	}
	return !p.refuse
}

func (p *Proxy) remove(conn *net.TCPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, conn)
}

// pass waits as long as bytes are on their way, and returns false once the proxy closes.
func (p *Proxy) pass() bool {
	p.mu.Lock()
	flowing, delay := p.flowing, p.delay
	p.mu.Unlock()
	select {
	case <-flowing:
	case <-p.closed:
		return false
	}
	if delay == 0 {
		return true
	}
	t := time.NewTimer(delay)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-p.closed:
		return false
	}
}

// copy passes on what comes, the end included.
func (p *Proxy) copy(to, from *net.TCPConn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if !p.pass() {
			return
		}
		if _, failed := to.Write(buffer[:n]); failed != nil {
			err = failed
		}
		switch {
		case errors.Is(err, io.EOF):
			_ = to.CloseWrite() // if it is closed already, it knows
			return
		case err != nil:
			abort(from)
			abort(to)
			return
		}
	}
}
