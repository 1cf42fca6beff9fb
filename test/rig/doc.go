// Package rig is the equipment of the load and fault tests: a sender of signed GitHub pushes (Load), a
// destination that counts and misbehaves on request (Sink), and the real program as a child process (Daemon).
//
// It knows Bellhop by its outside contract only: hook URLs, configuration files, environment variables and
// the admin port. All traffic stays on the loopback interface, and everything is bounded in count and time.
package rig
