package chart_test

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	certmanager "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
)

// rendered are the objects of values that have to be right.
func rendered(t *testing.T, v map[string]any, in ...runtime.Object) []runtime.Object {
	t.Helper()
	manifests, err := render(t, v, newCluster(in...))
	if err != nil {
		t.Fatal(err)
	}
	return objects(t, manifests)
}

// feature are the objects of a file of ci/.
func feature(t *testing.T, name string) []runtime.Object {
	t.Helper()
	v, ok := values(t)[name]
	if !ok {
		t.Fatalf("no ci/%s-values.yaml", name)
	}
	return rendered(t, v)
}

// environment is what the process is told. A value from elsewhere is told as the place's name.
func environment(t *testing.T, objs []runtime.Object) map[string]string {
	t.Helper()
	env := map[string]string{}
	for _, v := range find[*appsv1.Deployment](t, objs).Spec.Template.Spec.Containers[0].Env {
		env[v.Name] = v.Value
		if from := v.ValueFrom; from != nil && from.SecretKeyRef != nil {
			env[v.Name] = from.SecretKeyRef.Name + "/" + from.SecretKeyRef.Key
		} else if from != nil && from.FieldRef != nil {
			env[v.Name] = from.FieldRef.FieldPath
		}
	}
	return env
}

// TestEveryFileIsMounted: each path that the process or the test is told lies in a volume that the pod has.
func TestEveryFileIsMounted(t *testing.T) {
	t.Parallel()
	for name, v := range values(t) {
		objs := rendered(t, v)
		for pod, template := range pods(t, objs) {
			volumes := map[string]bool{}
			for _, volume := range template.Spec.Volumes {
				volumes[volume.Name] = true
			}
			for _, c := range template.Spec.Containers {
				mounted := func(path string) bool {
					return slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return strings.HasPrefix(path, m.MountPath+"/") })
				}
				for _, m := range c.VolumeMounts {
					if !volumes[m.Name] {
						t.Errorf("%s: %s: %s mounts %s, which the pod does not have", name, pod, c.Name, m.Name)
					}
				}
				for _, v := range c.Env {
					if strings.HasSuffix(v.Name, "_FILE") && !mounted(v.Value) {
						t.Errorf("%s: %s: %s of %s is %s, which is not mounted", name, pod, v.Name, c.Name, v.Value)
					}
				}
				for _, arg := range c.Args {
					if _, path, ok := strings.Cut(arg, "file="); ok && !mounted(path) {
						t.Errorf("%s: %s: %s has %s, which is not mounted", name, pod, c.Name, arg)
					}
				}
			}
		}
	}
}

// TestServicesReachThePods: ports and labels that belong together do, and no Service sends hooks to a test's pod.
func TestServicesReachThePods(t *testing.T) {
	t.Parallel()
	for name, v := range values(t) {
		objs := rendered(t, v)
		pod := find[*appsv1.Deployment](t, objs).Spec.Template
		listens := map[string]int32{}
		for _, port := range pod.Spec.Containers[0].Ports {
			listens[port.Name] = port.ContainerPort
		}
		for _, service := range all[*corev1.Service](objs) {
			selects := labels.SelectorFromSet(service.Spec.Selector)
			if !selects.Matches(labels.Set(pod.Labels)) {
				t.Errorf("%s: Service %s does not select the pod", name, service.Name)
			}
			for _, test := range all[*corev1.Pod](objs) {
				if selects.Matches(labels.Set(test.Labels)) {
					t.Errorf("%s: Service %s selects the pod %s", name, service.Name, test.Name)
				}
			}
			for _, port := range service.Spec.Ports {
				if listens[port.TargetPort.String()] == 0 {
					t.Errorf("%s: port %s of Service %s leads to %s, which the pod does not have", name, port.Name, service.Name, port.TargetPort.String())
				}
				if service.Spec.Type != corev1.ServiceTypeClusterIP && service.Spec.Type != "" && port.Name != "hook" {
					t.Errorf("%s: Service %s shows %s to the outside", name, service.Name, port.Name)
				}
			}
		}
	}
}

// TestHelmTest: the pod of helm test posts to a name that the certificate has, and asks the admin API for the event where
// a token and a port let it.
func TestHelmTest(t *testing.T) {
	t.Parallel()
	const receiver, confirm = "--base=http://bellhop.hooks.svc:80", "--confirm --server=http://bellhop:9090 --token-file=/etc/bellhop/admin/token"
	for _, tc := range []struct{ set, want string }{
		{oneLiner, receiver + " " + confirm},
		{oneLiner + ",admin.token.enabled=false", receiver},
		{oneLiner + ",networkPolicy.enabled=true", receiver + " " + confirm},
		{oneLiner + ",networkPolicy.enabled=true,networkPolicy.adminFrom=null", receiver},
		{oneLiner + ",service.type=LoadBalancer", receiver + " --confirm --server=http://bellhop-admin:9090 --token-file=/etc/bellhop/admin/token"},
		{oneLiner + ",test.base=https://hooks.example.com", "--base=https://hooks.example.com " + confirm},
		{oneLiner + ",tls.enabled=true,tls.existingSecret=mine", "--base=https://bellhop.hooks.svc:443 " + confirm},
		{oneLiner + ",tls.enabled=true,certManager.enabled=true,certManager.dnsNames={a.example.com}", "--base=https://bellhop.hooks.svc:443 " + confirm},
		{
			oneLiner + ",tls.enabled=true,certManager.enabled=true,certManager.issuerRef.name=acme,certManager.dnsNames={*.example.com}",
			"--base=https://hooks.example.com:443 --connect-to=bellhop.hooks.svc:443 " + confirm,
		},
	} {
		t.Run(tc.set, func(t *testing.T) {
			t.Parallel()
			objs := rendered(t, set(t, tc.set))
			args := find[*corev1.Pod](t, objs).Spec.Containers[0].Args
			fixed := []string{"send", "--endpoint=app", "--event=push", "--file=/test/payload.json"}
			if got := strings.Join(args[len(fixed):], " "); got != tc.want || !slices.Equal(args[:len(fixed)], fixed) {
				t.Errorf("sends\n%s %s\nwant\n%s %s", args[:len(fixed)], got, fixed, tc.want)
			}
			for _, arg := range args {
				server, ok := strings.CutPrefix(arg, "--server=http://")
				if !ok {
					continue
				}
				name, _, _ := strings.Cut(server, ":")
				service := all[*corev1.Service](objs)[name]
				if service == nil || !slices.ContainsFunc(service.Spec.Ports, func(p corev1.ServicePort) bool { return p.Name == "admin" && p.Port == 9090 }) {
					t.Errorf("Service %s has no admin port", name)
				}
			}
		})
	}
	for _, expr := range []string{"", oneLiner + ",test.enabled=false"} {
		if pods := all[*corev1.Pod](rendered(t, set(t, expr))); len(pods) != 0 {
			t.Errorf("%q: there is something to test", expr)
		}
	}
}

// TestPermissions: the least that the values need, and a token only for those who have permissions.
func TestPermissions(t *testing.T) {
	t.Parallel()
	const events = "hooks: /configmaps[bellhop] get; hooks: events.k8s.io/events create,patch"
	for _, tc := range []struct{ set, want string }{
		{oneLiner, events},
		{"kubernetesEvents.enabled=false", ""},
		{"rbac.create=false", ""},
		{"kubernetesEvents.enabled=false,secretsFromAPI=true", "hooks: /secrets list,watch"},
		{
			"kubernetesEvents.enabled=false,fluxReconcile.namespaces={apps,apps}",
			"apps: helm.toolkit.fluxcd.io/helmreleases get,list,patch; " +
				"apps: image.toolkit.fluxcd.io/imagepolicies get,list,patch; apps: image.toolkit.fluxcd.io/imagerepositories get,list,patch; " +
				"apps: image.toolkit.fluxcd.io/imageupdateautomations get,list,patch; " +
				"apps: kustomize.toolkit.fluxcd.io/kustomizations get,list,patch; " +
				"apps: source.extensions.fluxcd.io/artifactgenerators get,list,patch; " +
				"apps: source.toolkit.fluxcd.io/buckets get,list,patch; apps: source.toolkit.fluxcd.io/gitrepositories get,list,patch; " +
				"apps: source.toolkit.fluxcd.io/helmcharts get,list,patch; apps: source.toolkit.fluxcd.io/helmrepositories get,list,patch; " +
				"apps: source.toolkit.fluxcd.io/ocirepositories get,list,patch",
		},
	} {
		t.Run(tc.set, func(t *testing.T) {
			t.Parallel()
			objs := rendered(t, set(t, tc.set))
			var may []string
			for _, role := range all[*rbacv1.Role](objs) {
				binding := all[*rbacv1.RoleBinding](objs)[role.Name]
				if binding == nil || binding.RoleRef.Name != role.Name || binding.Namespace != role.Namespace {
					t.Errorf("Role %s is not bound", role.Name)
				} else if s := binding.Subjects[0]; s.Namespace != namespace || all[*corev1.ServiceAccount](objs)[s.Name] == nil {
					t.Errorf("Role %s is bound to %s/%s, which the chart does not make", role.Name, s.Namespace, s.Name)
				}
				for _, rule := range role.Rules {
					for _, group := range rule.APIGroups {
						for _, resource := range rule.Resources {
							if len(rule.ResourceNames) > 0 {
								resource += "[" + strings.Join(rule.ResourceNames, ",") + "]"
							}
							may = append(may, role.Namespace+": "+group+"/"+resource+" "+strings.Join(rule.Verbs, ","))
						}
					}
				}
			}
			slices.Sort(may)
			want := strings.Split(tc.want, "; ")
			if tc.want == "" {
				want = nil
			}
			slices.Sort(want)
			if !slices.Equal(may, want) {
				t.Errorf("may\n%s\nwant\n%s", strings.Join(may, "\n"), strings.Join(want, "\n"))
			}
			spec := find[*appsv1.Deployment](t, objs).Spec.Template.Spec
			asks := tc.want != "" || tc.set == "rbac.create=false" // there, somebody else gives the permissions
			if *spec.AutomountServiceAccountToken != asks {
				t.Errorf("the pod has a token: %v", !asks)
			}
			for _, o := range objs {
				if o, ok := o.(*rbacv1.ClusterRole); ok {
					t.Errorf("ClusterRole %s", o.Name)
				}
			}
		})
	}
}

// TestInstallation: the cluster's uid, once there is a cluster, unless a name is given.
func TestInstallation(t *testing.T) {
	t.Parallel()
	system := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system", UID: "0b6c-uid"}}
	if got := environment(t, rendered(t, set(t, oneLiner), system))["BELLHOP_INSTALLATION"]; got != "0b6c-uid" {
		t.Errorf("in a cluster: %q", got)
	}
	if got := environment(t, rendered(t, set(t, "installation=staging"), system))["BELLHOP_INSTALLATION"]; got != "staging" {
		t.Errorf("with a name: %q", got)
	}
	if got, ok := environment(t, rendered(t, set(t, oneLiner)))["BELLHOP_INSTALLATION"]; ok {
		t.Errorf("without a cluster: %q", got)
	}
}

func TestQueues(t *testing.T) {
	t.Parallel()
	embedded := find[*appsv1.Deployment](t, rendered(t, set(t, oneLiner)))
	if *embedded.Spec.Replicas != 1 || embedded.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType {
		t.Errorf("embedded: %d pods, %s", *embedded.Spec.Replicas, embedded.Spec.Strategy.Type)
	}
	objs := feature(t, "nats")
	nats := find[*appsv1.Deployment](t, objs)
	if *nats.Spec.Replicas != 3 || nats.Spec.Strategy.Type != appsv1.RollingUpdateDeploymentStrategyType ||
		len(nats.Spec.Template.Spec.TopologySpreadConstraints) == 0 {
		t.Errorf("nats: %d pods, %s, spread %v", *nats.Spec.Replicas, nats.Spec.Strategy.Type, nats.Spec.Template.Spec.TopologySpreadConstraints)
	}
	if got := environment(t, objs)["BELLHOP_QUEUE"]; got != "nats://nats.nats.svc:4222" {
		t.Errorf("nats: BELLHOP_QUEUE is %q", got)
	}
	if len(all[*corev1.PersistentVolumeClaim](objs)) != 0 {
		t.Error("nats: a volume is claimed")
	}
	objs = feature(t, "autoscaling")
	scaled := find[*appsv1.Deployment](t, objs)
	if scaled.Spec.Replicas != nil {
		t.Error("autoscaling: an upgrade would set the number of pods back")
	}
	if ref := find[*autoscalingv2.HorizontalPodAutoscaler](t, objs).Spec.ScaleTargetRef; ref.Name != scaled.Name || ref.Kind != "Deployment" {
		t.Errorf("autoscaling: of %s %s", ref.Kind, ref.Name)
	}
	if got := environment(t, objs)["BELLHOP_QUEUE"]; got != "nats/address" {
		t.Errorf("autoscaling: BELLHOP_QUEUE is from %q", got)
	}
}

// TestCertificates follows the certificates from the Secrets that the pod mounts up to the issuer.
func TestCertificates(t *testing.T) {
	t.Parallel()
	objs := feature(t, "cert-manager")
	certificates, issuers := all[*certmanager.Certificate](objs), all[*certmanager.Issuer](objs)
	made := map[string]*certmanager.Certificate{}
	for _, c := range certificates {
		made[c.Spec.SecretName] = c
	}
	mounted := map[string]string{}
	for _, v := range find[*appsv1.Deployment](t, objs).Spec.Template.Spec.Volumes {
		if v.Secret != nil {
			mounted[v.Name] = v.Secret.SecretName
		}
	}
	for volume, host := range map[string]string{"tls": "hooks.example.com", "admission": "bellhop-admission.hooks.svc"} {
		leaf := made[mounted[volume]]
		if leaf == nil {
			t.Fatalf("nothing makes Secret %q of volume %s", mounted[volume], volume)
		}
		if !slices.Contains(leaf.Spec.DNSNames, host) {
			t.Errorf("%s: not for %s: %v", volume, host, leaf.Spec.DNSNames)
		}
		issuer := issuers[leaf.Spec.IssuerRef.Name]
		if issuer == nil || issuer.Spec.CA == nil {
			t.Fatalf("%s: issuer %q is no authority", volume, leaf.Spec.IssuerRef.Name)
		}
		ca := made[issuer.Spec.CA.SecretName]
		if ca == nil || !ca.Spec.IsCA {
			t.Fatalf("%s: nothing makes the authority %q", volume, issuer.Spec.CA.SecretName)
		}
		if root := issuers[ca.Spec.IssuerRef.Name]; root == nil || root.Spec.SelfSigned == nil {
			t.Errorf("%s: the authority is not self-signed", volume)
		}
		if leaf.Spec.RenewBefore.Duration >= leaf.Spec.Duration.Duration || ca.Spec.Duration.Duration <= leaf.Spec.Duration.Duration {
			t.Errorf("%s: lives %v, renewed %v before, by an authority that lives %v", volume, leaf.Spec.Duration, leaf.Spec.RenewBefore, ca.Spec.Duration)
		}
	}

	given := feature(t, "issuer")
	if len(all[*certmanager.Issuer](given)) != 0 {
		t.Error("an issuer is given, and one is made")
	}
	leaf := find[*certmanager.Certificate](t, given)
	if ref := leaf.Spec.IssuerRef; ref.Name != "letsencrypt" || ref.Kind != "ClusterIssuer" || ref.Group != "cert-manager.io" {
		t.Errorf("by %+v", ref)
	}
	if !slices.Equal(leaf.Spec.DNSNames, []string{"hooks.example.com"}) {
		t.Errorf("a public issuer is asked for %v", leaf.Spec.DNSNames)
	}
	if n := len(all[*certmanager.Certificate](feature(t, "existing-certificates"))); n != 0 {
		t.Errorf("%d certificates are made beside those that exist", n)
	}
}

// TestAdmission: the webhook sees the chart's own objects and no others, and is trusted by the right authority.
func TestAdmission(t *testing.T) {
	t.Parallel()
	objs := feature(t, "cert-manager")
	config := find[*admissionv1.ValidatingWebhookConfiguration](t, objs)
	webhook := config.Webhooks[0]
	selects, err := metav1.LabelSelectorAsSelector(webhook.ObjectSelector)
	if err != nil {
		t.Fatal(err)
	}
	for _, labelled := range []map[string]string{all[*corev1.ConfigMap](objs)["bellhop"].Labels, all[*corev1.Secret](objs)["bellhop-keys"].Labels} {
		if !selects.Matches(labels.Set(labelled)) {
			t.Errorf("%s does not select %v", selects, labelled)
		}
	}
	for _, other := range []labels.Set{nil, all[*corev1.Secret](objs)["bellhop-admin"].Labels, {"bellhop.dev/config": "false"}} {
		if selects.Matches(other) {
			t.Errorf("%s selects %v", selects, other)
		}
	}
	if got := webhook.NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"]; got != namespace {
		t.Errorf("objects of namespace %q are looked at", got)
	}
	if *webhook.FailurePolicy != admissionv1.Fail {
		t.Errorf("failure policy %s", *webhook.FailurePolicy)
	}
	service := all[*corev1.Service](objs)[webhook.ClientConfig.Service.Name]
	if service == nil || service.Spec.Ports[0].Port != *webhook.ClientConfig.Service.Port || !service.Spec.PublishNotReadyAddresses {
		t.Errorf("the webhook's Service is %+v", service)
	}
	certificate := config.Annotations["cert-manager.io/inject-ca-from"]
	if _, name, _ := strings.Cut(certificate, "/"); all[*certmanager.Certificate](objs)[name] == nil {
		t.Errorf("the authority is that of %q, which is not made", certificate)
	}
	if got := environment(t, objs)["BELLHOP_ADMISSION_LISTEN"]; got != ":9443" {
		t.Errorf("BELLHOP_ADMISSION_LISTEN is %q", got)
	}

	// Without cert-manager.
	ca := []byte("-----BEGIN CERTIFICATE-----\nof the Secret\n")
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "mine"}, Data: map[string][]byte{"ca.crt": ca}}
	looked := find[*admissionv1.ValidatingWebhookConfiguration](t, rendered(t, set(t, "admission.enabled=true,admission.existingSecret=mine"), secret))
	if got := looked.Webhooks[0].ClientConfig.CABundle; !bytes.Equal(got, ca) || looked.Annotations != nil {
		t.Errorf("authority %q, annotations %v", got, looked.Annotations)
	}
	if got := find[*admissionv1.ValidatingWebhookConfiguration](t, feature(t, "existing-certificates")).Webhooks[0].ClientConfig.CABundle; !bytes.HasPrefix(got, []byte("-----BEGIN CERTIFICATE-----")) {
		t.Errorf("authority %q", got)
	}
}

// TestOnlyHooksAreRouted: neither Ingress nor HTTPRoute leads anywhere but to the endpoints.
func TestOnlyHooksAreRouted(t *testing.T) {
	t.Parallel()
	objs := feature(t, "ingress")
	var paths []networkingv1.HTTPIngressPath
	ingress := find[*networkingv1.Ingress](t, objs)
	for _, rule := range ingress.Spec.Rules {
		paths = append(paths, rule.HTTP.Paths...)
	}
	if len(paths) != 1 || ingress.Spec.DefaultBackend != nil {
		t.Fatalf("Ingress: leads to %v and %v", paths, ingress.Spec.DefaultBackend)
	}
	if p := paths[0]; p.Path != "/hook/" || *p.PathType != networkingv1.PathTypePrefix || p.Backend.Service.Name != "bellhop" || p.Backend.Service.Port.Name != "hook" {
		t.Errorf("Ingress: %s leads to %+v", p.Path, p.Backend.Service)
	}
	if got := environment(t, objs)["BELLHOP_PUBLIC_URL"]; got != "https://hooks.example.com" {
		t.Errorf("Ingress: BELLHOP_PUBLIC_URL is %q", got)
	}

	objs = feature(t, "gateway")
	rules := find[*gateway.HTTPRoute](t, objs).Spec.Rules
	if len(rules) != 1 || len(rules[0].Matches) != 1 || len(rules[0].BackendRefs) != 1 {
		t.Fatalf("HTTPRoute: %+v", rules)
	}
	if path := rules[0].Matches[0].Path; *path.Value != "/hook/" || *path.Type != gateway.PathMatchPathPrefix {
		t.Errorf("HTTPRoute: %v", path)
	}
	backend := rules[0].BackendRefs[0]
	service := all[*corev1.Service](objs)[string(backend.Name)]
	if service == nil {
		t.Fatalf("HTTPRoute: no Service %s", backend.Name)
	}
	for _, port := range service.Spec.Ports {
		if leads := port.Port == *backend.Port; leads != (port.Name == "hook") {
			t.Errorf("HTTPRoute: leads to port %s: %v", port.Name, leads)
		}
	}
	if got := environment(t, objs)["BELLHOP_PUBLIC_URL"]; got != "https://hooks.example.com" {
		t.Errorf("HTTPRoute: BELLHOP_PUBLIC_URL is %q", got)
	}
}

// TestKept: what is to outlive the release does, and nothing else.
func TestKept(t *testing.T) {
	t.Parallel()
	kept := func(objs []runtime.Object) []string {
		var names []string
		for _, o := range objs {
			if m, ok := o.(metav1.Object); ok && m.GetAnnotations()["helm.sh/resource-policy"] == "keep" {
				names = append(names, o.GetObjectKind().GroupVersionKind().Kind+" "+m.GetName())
			}
		}
		slices.Sort(names)
		return names
	}
	if got := kept(rendered(t, set(t, oneLiner))); got != nil {
		t.Errorf("by default: %v", got)
	}
	objs := feature(t, "secrets")
	if got, want := kept(objs), []string{"PersistentVolumeClaim bellhop", "Secret bellhop-keys"}; !slices.Equal(got, want) {
		t.Errorf("kept are %v, want %v", got, want)
	}
	keys := all[*corev1.Secret](objs)["bellhop-keys"].Data
	if got := slices.Sorted(maps.Keys(keys)); !slices.Equal(got, []string{"app.key", "generated.key"}) || !bytes.HasPrefix(keys["app.key"], []byte("2d41b2c1")) {
		t.Errorf("the Secret holds %v", got)
	}
}
