// Package e2e installs Bellhop with its chart on a real cluster and uses it as people do: with helm and kubectl,
// which have to be on the PATH.
//
// The tests ask for the first two variables and skip without them, one test asks for the third:
//
//	KUBECONFIG       of a cluster with a default StorageClass, DNS, room for two pods, and cert-manager for some tests
//	E2E_LOAD_IMAGE   a command that is given the file of an image (as docker save writes it) and loads it into
//	                 the cluster's nodes, such as: kind load image-archive --name bellhop-e2e
//	E2E_KUBELET      a command that is given stop or start, and does that to the kubelet of a single node
//
// BELLHOP names a program to put into the image in place of one built now, E2E_CHART another chart,
// E2E_CHART_BEFORE the version to upgrade from (else git's history has it), and BELLHOP_FIXTURES the payloads
// recorded from real senders. `make e2e` makes a kind cluster where none is given.
//
// Each test has a namespace of its own, under the restricted Pod Security Standard, and removes it; kinds of
// other projects that it had to define stay. What was measured is printed as a table at the end.
package e2e
