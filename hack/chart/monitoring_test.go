package chart_test

import (
	"encoding/json"
	"slices"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// TestServiceMonitorFindsThePort: exactly one Service that the ServiceMonitor selects has its port, whatever the
// Service of the receiver is. Two would count every pod twice.
func TestServiceMonitorFindsThePort(t *testing.T) {
	t.Parallel()
	for _, service := range []string{"ClusterIP", "NodePort", "LoadBalancer"} {
		manifests, err := render(t, set(t, oneLiner+",monitoring.serviceMonitor.enabled=true,monitoring.serviceMonitor.namespace=metrics,service.type="+service), nil)
		if err != nil {
			t.Fatal(err)
		}
		objs := objects(t, manifests)
		monitor := find[*monitoring.ServiceMonitor](t, objs)
		if monitor.Namespace != "metrics" || !slices.Equal(monitor.Spec.NamespaceSelector.MatchNames, []string{namespace}) {
			t.Errorf("%s: the ServiceMonitor of %s looks at %q", service, monitor.Namespace, monitor.Spec.NamespaceSelector.MatchNames)
		}
		selector, err := metav1.LabelSelectorAsSelector(&monitor.Spec.Selector)
		if err != nil {
			t.Fatal(err)
		}
		endpoint := monitor.Spec.Endpoints[0]
		var ports []corev1.ServiceType
		for _, s := range all[*corev1.Service](objs) {
			if s.Labels[monitor.Spec.JobLabel] != "bellhop" {
				t.Errorf("%s: the alerts look for job bellhop, Service %s makes it %q", service, s.Name, s.Labels[monitor.Spec.JobLabel])
			}
			for _, port := range s.Spec.Ports {
				if selector.Matches(labels.Set(s.Labels)) && port.Name == endpoint.Port {
					ports = append(ports, s.Spec.Type)
				}
			}
		}
		if len(ports) != 1 || (ports[0] != corev1.ServiceTypeClusterIP && ports[0] != "") {
			t.Errorf("%s: port %s is in Services of the types %q, want one, inside the cluster", service, endpoint.Port, ports)
		}
		// Else the operator's label endpoint would rename Bellhop's.
		if !slices.ContainsFunc(endpoint.RelabelConfigs, func(r monitoring.RelabelConfig) bool {
			return r.Action == "labeldrop" && r.Regex == "endpoint"
		}) {
			t.Errorf("%s: the target keeps the label endpoint", service)
		}
	}
}

// TestDashboardIsJSON: the text survives its way into the ConfigMap.
func TestDashboardIsJSON(t *testing.T) {
	t.Parallel()
	manifests, err := render(t, set(t, "monitoring.dashboard.enabled=true,monitoring.dashboard.annotations.grafana_folder=Hooks,existingConfigMap=mine"), nil)
	if err != nil {
		t.Fatal(err)
	}
	made := find[*corev1.ConfigMap](t, objects(t, manifests))
	if made.Labels["grafana_dashboard"] != "1" || made.Annotations["grafana_folder"] != "Hooks" {
		t.Errorf("the sidecar looks for labels and annotations, which are %v and %v", made.Labels, made.Annotations)
	}
	var board struct{ Title string }
	if err := json.Unmarshal([]byte(made.Data["bellhop.json"]), &board); err != nil || board.Title != "Bellhop" {
		t.Errorf("the dashboard is called %q: %v", board.Title, err)
	}
}

func TestMonitoringIsOffUnlessAskedFor(t *testing.T) {
	t.Parallel()
	manifests, err := render(t, set(t, oneLiner), nil)
	if err != nil {
		t.Fatal(err)
	}
	objs := objects(t, manifests)
	if n := len(all[*monitoring.ServiceMonitor](objs)) + len(all[*monitoring.PrometheusRule](objs)); n != 0 {
		t.Errorf("%d objects of an operator that the cluster may not have", n)
	}
}

func TestRefusedMonitoringValues(t *testing.T) {
	t.Parallel()
	for _, expr := range []string{
		"monitoring.enabled=true",
		"monitoring.serviceMonitor.interval=often",
		"monitoring.prometheusRule.alerts.queueOld.enabled=true",
		"monitoring.prometheusRule.alerts.queueOldest.minutes=5",
		"monitoring.prometheusRule.alerts.queueOldest.seconds=many",
		"monitoring.prometheusRule.alerts.providerFailing.ratio=2",
		"monitoring.prometheusRule.alerts.down.for=5",
		"monitoring.dashboard.labels=grafana",
	} {
		if _, err := render(t, set(t, expr), nil); err == nil {
			t.Errorf("%s is accepted", expr)
		}
	}
}
