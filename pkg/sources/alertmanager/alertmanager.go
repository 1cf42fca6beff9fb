// Package alertmanager receives the notifications of Prometheus' Alertmanager.
//
// In Alertmanager's configuration, give a receiver a webhook with the endpoint's hook URL:
//
//	receivers:
//	- name: bellhop
//	  webhook_configs:
//	  - url_file: /etc/alertmanager/secrets/bellhop-url
//	    send_resolved: true
//
// Alertmanager signs nothing, so whoever knows the URL is believed. It can carry more in http_config:
// basic_auth, authorization (a bearer token) or a client certificate, which the endpoint's auth asks for. The
// password or token is the content of the endpoint's key.
//
// A notification is of a group of alerts and makes one event, of kind alert; its type is the group's status,
// firing or resolved. What fires is an error, unless every firing alert's label severity says info, none or the
// like; what is resolved is info. The labels that all alerts have in common are the event's metadata, so that a
// route can ask for event.metadata.severity.
//
// There is no delivery id, and a reminder (repeat_interval) is equal to the byte to the notification before, so
// nothing is taken for a duplicate. Alertmanager tries again after answers of 500 and above and broken
// connections; what an endpoint's rateLimit refuses comes with the next reminder. Where payload replaces what
// Alertmanager sends, the usual names are understood (title, message, severity, link), and the kind is other.
//
// https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
package alertmanager

import (
	"context"
	"net/http"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Kind is the manifest.
var Kind = bellhop.Define("alertmanager", "Prometheus Alertmanager: groups of alerts, known by the URL alone",
	Settings{}, func(bellhop.Setup, Settings) (bellhop.Source, error) { return source{}, nil },
	bellhop.Aliases{"prometheus-alertmanager"},
	bellhop.SourceTraits{
		Verification: bellhop.ByPath,
		Repeats:      true,
		Sign:         func(bellhop.Secret, http.Header, []byte) {},
	})

// Settings of an endpoint: there are none.
type Settings struct{}

type source struct{}

// Verify believes everyone: what Alertmanager can carry is for the endpoint's auth.
func (source) Verify(context.Context, *bellhop.Request) error { return nil }
