// Package bellhop is the vocabulary that every other room of the house speaks: what an event is, what a
// source and a provider have to do, what a queue promises, how secrets, errors and problems behave.
//
// It imports the standard library only, and nothing of the project. Whoever writes a plug-in needs this
// package, verify or httpsend, and the vendor's documentation.
package bellhop
