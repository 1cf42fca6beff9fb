// Package senders lets real senders post to the real program: Prometheus' Alertmanager, and the recorder with
// which Flux's controllers post their events. What arrives is looked at behind a provider, so the whole path is
// run. It is a module of its own, so that the program does not depend on its senders.
//
// All traffic stays on the loopback interface. The environment variable BELLHOP names the program; without it,
// it is built first.
package senders
