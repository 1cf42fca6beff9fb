package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bellhop-dev/bellhop/pkg/admin"
	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// peers is a queue of which only the replicas matter.
type peers struct {
	bellhop.Queue
	replicas func(ctx context.Context) ([]bellhop.Replica, error)
}

func (p peers) Replicas(ctx context.Context) ([]bellhop.Replica, error) { return p.replicas(ctx) }

// statusOf asks for the status of a process with such a queue.
func statusOf(t *testing.T, replicas func(ctx context.Context) ([]bellhop.Replica, error)) (s admin.Status, text string) {
	t.Helper()
	h := admin.New(admin.Options{
		Queue: peers{replicas: replicas}, Metrics: prometheus.NewRegistry(), Status: func() admin.Status { return admin.Status{Version: "v"} },
	})
	r := httptest.NewRequest(http.MethodGet, "/api/v1/status", nil)
	r.RemoteAddr, r.Host = "127.0.0.1:1234", "localhost:9090"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil || w.Code != http.StatusOK || s.Version != "v" {
		t.Fatalf("%d %v %s", w.Code, err, w.Body)
	}
	return s, w.Body.String()
}

func TestReplicasThatLag(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	replica := func(hash string, loaded int) bellhop.Replica {
		r := bellhop.Replica{Name: hash, ConfigHash: hash}
		if hash != "" {
			r.Loaded = at.Add(time.Duration(loaded) * time.Second)
		}
		return r
	}
	for _, tc := range []struct {
		name     string
		replicas []bellhop.Replica
		want     []bool
	}{
		{"none", nil, nil},
		{"alone", []bellhop.Replica{replica("a", 0)}, []bool{false}},
		{"alone and without configuration", []bellhop.Replica{replica("", 0)}, []bool{false}},
		{"equal", []bellhop.Replica{replica("a", 2), replica("a", 1), replica("a", 3)}, []bool{false, false, false}},
		{"one lags", []bellhop.Replica{replica("b", 2), replica("a", 1), replica("b", 3)}, []bool{false, true, false}},
		{"one is ahead", []bellhop.Replica{replica("a", 2), replica("a", 1), replica("b", 3)}, []bool{true, true, false}},
		{"one starts", []bellhop.Replica{replica("", 0), replica("a", 1)}, []bool{true, false}},
	} {
		s, text := statusOf(t, func(context.Context) ([]bellhop.Replica, error) { return tc.replicas, nil })
		var got []bool
		for i, r := range s.Replicas {
			got = append(got, r.Lagging)
			if r.ConfigHash != tc.replicas[i].ConfigHash {
				t.Errorf("%s: %s", tc.name, text)
			}
		}
		if !slices.Equal(got, tc.want) || s.ReplicasError != "" || s.Replicas == nil {
			t.Errorf("%s: %s", tc.name, text)
		}
	}
}

// TestReplicasAreNotKnown: a queue out of reach, or one that does not answer, takes nothing from the rest of the status.
func TestReplicasAreNotKnown(t *testing.T) {
	t.Parallel()
	if s, text := statusOf(t, func(context.Context) ([]bellhop.Replica, error) { return nil, errors.New("no servers") }); s.ReplicasError != "no servers" {
		t.Errorf("status %s", text)
	}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		s, text := statusOf(t, func(ctx context.Context) ([]bellhop.Replica, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		if took := time.Since(began); s.ReplicasError == "" || took > 5*time.Second {
			t.Errorf("after %v: status %s", took, text)
		}
	})
}
