package config

import (
	"context"
	"errors"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/route"
	"github.com/bellhop-dev/bellhop/pkg/verify"
)

// setup is what every source and provider is built from, whatever it is.
func (l *load) setup(name string) bellhop.Setup {
	s := bellhop.Setup{
		Name: name, Logger: l.Logger, Issuers: l.Issuers, Cluster: l.Cluster, Expression: route.CompileExpression,
	}
	if l.Installation != nil {
		s.Installation = l.Installation()
	}
	if s.Issuers == nil {
		s.Issuers = l.ownIssuers()
	}
	if s.Cluster == nil {
		s.Cluster = noCluster{}
	}
	return s
}

// ownIssuers stand in for those that nobody handed to the Loader: one set for all its endpoints.
func (l *Loader) ownIssuers() bellhop.Issuers {
	l.issuersOnce.Do(func() {
		client, err := httpsend.NewClient(httpsend.Options{})
		if err != nil {
			l.issuers = noIssuers{err}
			return
		}
		l.issuers = verify.NewIssuers(client, l.Logger)
	})
	return l.issuers
}

// noIssuers can verify nothing.
type noIssuers struct{ err error }

func (n noIssuers) Payload(context.Context, string, string) ([]byte, error) { return nil, n.err }

// noCluster is the Kubernetes API where there is none.
type noCluster struct{}

var errNoCluster = errors.New("asking the Kubernetes API: there is none here: run Bellhop in the cluster, or set KUBECONFIG")

func (noCluster) Objects(context.Context, bellhop.ObjectQuery) ([]bellhop.Object, error) {
	return nil, errNoCluster
}

func (noCluster) Annotate(context.Context, bellhop.ObjectReference, string, string) error {
	return errNoCluster
}
