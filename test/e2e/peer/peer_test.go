package peer_test

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/test/e2e/peer"
	"github.com/bellhop-dev/bellhop/test/rig"
)

// newPeer starts one.
func newPeer(t *testing.T) *peer.Client {
	t.Helper()
	server := httptest.NewServer(peer.NewServer(0))
	t.Cleanup(server.Close)
	return &peer.Client{Base: server.URL}
}

func TestReceived(t *testing.T) {
	t.Parallel()
	c := newPeer(t)
	for _, body := range []string{`{"data":{"deliveryId":"a"}}`, `{"data":{"deliveryId":"b"}}`, `{"data":{"deliveryId":"a","n":3}}`} {
		a, err := c.Post(t.Context(), peer.Message{
			URL: c.Base + "/sink", Header: map[string]string{"Content-Type": "application/json"}, Body: []byte(body),
		})
		if err != nil || a.Status != 200 || a.Error != "" {
			t.Fatalf("%+v, %v", a, err)
		}
	}
	r, err := c.Received(t.Context())
	if err != nil || len(r.Times) != 2 || r.Times["a"] != 2 || r.Times["b"] != 1 || r.Mistake != "" {
		t.Errorf("%+v, %v", r, err)
	}
	if want := `{"data":{"deliveryId":"a","n":3}}`; string(r.Last) != want {
		t.Errorf("last is %s", r.Last)
	}

	a, err := c.Post(t.Context(), peer.Message{URL: c.Base + "/sink", Body: []byte("{}")})
	if err != nil || a.Status != 400 {
		t.Errorf("a delivery without a type: %+v, %v", a, err)
	}
	if r, err := c.Received(t.Context()); err != nil || r.Mistake == "" {
		t.Errorf("the mistake went unnoticed: %+v, %v", r, err)
	}
}

func TestPostTellsThatNobodyAnswers(t *testing.T) {
	t.Parallel()
	address, err := rig.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	a, err := newPeer(t).Post(t.Context(), peer.Message{URL: "http://" + address})
	if err != nil || a.Error == "" || a.Status != 0 {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestPostOverTLS(t *testing.T) {
	t.Parallel()
	c := newPeer(t)
	receiver := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	receiver.Config.ErrorLog = log.New(io.Discard, "", 0) // of the handshake that fails
	receiver.StartTLS()
	defer receiver.Close()
	certificate := receiver.Certificate()
	for name, tc := range map[string]struct {
		ca     []byte
		serial string
		want   string // in the error
	}{
		"an unknown authority": {nil, "", "unknown authority"},
		"no authority":         {[]byte("PEM"), "", "give PEM"},
		"its authority":        {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}), certificate.SerialNumber.Text(16), ""},
	} {
		a, err := c.Post(t.Context(), peer.Message{URL: receiver.URL, CA: tc.ca})
		if err != nil || a.Serial != tc.serial || (a.Error == "") != (tc.want == "") || !strings.Contains(a.Error, tc.want) {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	c := newPeer(t)
	if _, err := c.Await(t.Context()); err == nil {
		t.Error("there is a result before the first load")
	}
	ids := make(chan string, 1000)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ids <- r.Header.Get("X-GitHub-Delivery")
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprint(w, "{}")
	}))
	defer receiver.Close()
	l := peer.Load{URL: receiver.URL + "/hook/a", Key: []byte("key"), Connections: 2, Count: 10, For: time.Minute, First: 5}
	if err := c.Begin(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	r, err := c.Await(t.Context())
	if err != nil || r.Error != "" || r.Acknowledged != 10 || r.Statuses[202] != 10 || len(r.Latencies) != 10 {
		t.Errorf("%+v, %v", r, err)
	}
	if n := len(ids); n != 10 {
		t.Errorf("%d pushes came", n)
	}

	// A load that would last is ended.
	l.Count, l.Rate, l.First = 1e6, 50, 100
	if err := c.Begin(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if err := c.Begin(t.Context(), l); err == nil {
		t.Error("two loads at a time")
	}
	if r, err = c.End(t.Context()); err != nil || r.Error != "" || r.Acknowledged >= 1000 {
		t.Errorf("%+v, %v", r, err)
	}

	withoutCA, withoutScheme := l, l
	withoutCA.CA, withoutScheme.URL = []byte("PEM"), "example.com/hook/a"
	for _, l := range []peer.Load{withoutCA, withoutScheme} {
		if err := c.Begin(t.Context(), l); err == nil {
			t.Errorf("a load that cannot be sent is accepted: %+v", l)
		}
	}
}
