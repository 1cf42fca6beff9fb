package app_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"
)

// A client that keeps its connection is told to leave in the answer to the request that it was about to send when the
// process was stopped.
func TestClientsLeaveBeforeTheListenerEnds(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", s.addr["receiver"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	ask := func() *http.Response {
		t.Helper()
		if _, err := fmt.Fprint(conn, "GET /hook/none HTTP/1.1\r\nHost: bellhop\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		answer, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := answer.Body.Close(); err != nil {
			t.Fatal(err)
		}
		return answer
	}
	if answer := ask(); answer.Close {
		t.Fatal("the connection is not kept")
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.end()
	}()
	s.log.wait(t, 0, "stopping")
	if answer := ask(); !answer.Close {
		t.Error("nobody said that the connection ends")
	}
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("the process waits for a client that has left")
	}
}
