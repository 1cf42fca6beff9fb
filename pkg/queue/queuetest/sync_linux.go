package queuetest

import (
	"os"
	"syscall"
)

// syncData is fdatasync, which Pebble uses for its log, too.
func syncData(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }
