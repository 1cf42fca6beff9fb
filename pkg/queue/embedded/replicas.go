package embedded

import (
	"context"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Announce keeps what this process says of itself: nobody else has the directory.
func (q *Queue) Announce(_ context.Context, r bellhop.Replica) error {
	if err := q.begin(); err != nil {
		return err
	}
	defer q.end()
	r.Seen = q.now().UTC()
	q.replica.Store(&r)
	return nil
}

// Replicas is this process, once it announced itself.
func (q *Queue) Replicas(context.Context) ([]bellhop.Replica, error) {
	if err := q.begin(); err != nil {
		return nil, err
	}
	defer q.end()
	if r := q.replica.Load(); r != nil {
		return []bellhop.Replica{*r}, nil
	}
	return nil, nil
}
