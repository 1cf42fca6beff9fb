//go:build !linux

package queuetest

import "os"

func syncData(f *os.File) error { return f.Sync() }
