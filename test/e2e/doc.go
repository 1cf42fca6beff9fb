// Package e2e installs Bellhop with its chart on a real cluster and uses it as people do: with helm and kubectl,
// which have to be on the PATH.
//
// The tests ask for two variables and skip without them:
//
//	KUBECONFIG       of a cluster with a default StorageClass, DNS and room for two pods
//	E2E_LOAD_IMAGE   a command that is given the file of an image (as docker save writes it) and loads it into
//	                 the cluster's nodes, such as: kind load image-archive --name bellhop-e2e
//
// BELLHOP names a program to put into the image in place of one built now, E2E_CHART another chart, and
// BELLHOP_FIXTURES the payloads recorded from real senders. `make e2e` makes a kind cluster where none is given.
//
// Each test has a namespace of its own, under the restricted Pod Security Standard, and removes it. What was
// measured is printed as a table at the end.
package e2e
