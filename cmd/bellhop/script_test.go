package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"bellhop": main})
}

// The scripts are the manual of the command line. Beside testscript's own they use these commands:
//
//	serve [FLAG…]     starts `bellhop serve` on free ports with the script's config, secrets and queue
//	                  directories; $HOOKS and $ADMIN are its addresses, $RECEIVER the first without
//	                  http://, serve.log what it logs
//	logged [N] REGEXP waits until serve has logged N lines that match, one if not said
//	quit              ends serve with SIGTERM, and fails unless it exits 0
//	quit twice URL    leaves a request to the URL unfinished, which stopping waits for, and sends SIGTERM; once
//	                  that is noticed, sends it again, and fails unless the process ends by it
//	sink              starts a destination that answers 200; $SINK is its URL
//	sink STATUS       has it answer STATUS from now on
//	sunk N            waits until N requests have come in, bodies in sink/1 …
//	capture NAME REGEXP
//	                  sets $NAME to what the expression's group matches in the last standard output
//	exits CODE PROGRAM ARG…
//	                  runs a program that must exit with that code
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Values[stageKey{}] = &stage{}
			env.Setenv("GORACE", "atexit_sleep_ms=50") // not a second at the end of every command
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"serve":   serveCommand,
			"logged":  loggedCommand,
			"quit":    quitCommand,
			"sink":    sinkCommand,
			"sunk":    sunkCommand,
			"capture": captureCommand,
			"exits":   exitsCommand,
		},
	})
}

// patience bounds every wait; what is waited for takes milliseconds.
const patience = 2 * time.Minute

type stageKey struct{}

// stage is what a script has running beside it.
type stage struct {
	process *exec.Cmd
	log     *lines
	sink    *sink
}

func on(ts *testscript.TestScript) *stage { return ts.Value(stageKey{}).(*stage) }

func serveCommand(ts *testscript.TestScript, neg bool, args []string) {
	st := on(ts)
	if neg || st.process != nil {
		ts.Fatalf("usage: serve [FLAG…], once until quit")
	}
	file, err := os.Create(ts.MkAbs("serve.log"))
	ts.Check(err)
	cmd := exec.Command(bellhopOf(ts), append([]string{
		"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-format", "text",
		"--config", ts.MkAbs("config"), "--secrets", ts.MkAbs("secrets"), "--queue", "file://" + ts.MkAbs("queue"),
	}, args...)...)
	cmd.Dir = ts.MkAbs(".")
	stderr, err := cmd.StderrPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	st.process, st.log = cmd, follow(stderr, file)
	ts.Defer(func() {
		if st.process == cmd {
			_ = cmd.Process.Kill()
			st.log.wait()
			_ = cmd.Wait()
		}
	})
	receiver := st.log.match(ts, 1, `msg=listening listener=receiver address=(\S+)`)[1]
	ts.Setenv("RECEIVER", receiver)
	ts.Setenv("HOOKS", "http://"+receiver)
	ts.Setenv("ADMIN", "http://"+st.log.match(ts, 1, `msg=listening listener=admin address=(\S+)`)[1])
}

func loggedCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 || on(ts).log == nil {
		ts.Fatalf("usage: logged [N] REGEXP, while serve runs")
	}
	n := 1
	if len(args) == 2 {
		var err error
		n, err = strconv.Atoi(args[0])
		ts.Check(err)
	}
	on(ts).log.match(ts, n, args[len(args)-1])
}

func quitCommand(ts *testscript.TestScript, neg bool, args []string) {
	st := on(ts)
	twice := len(args) == 2 && args[0] == "twice"
	if neg || len(args) != 0 && !twice || st.process == nil {
		ts.Fatalf("usage: quit [twice URL], while serve runs")
	}
	if twice {
		defer unfinished(ts, args[1]).Close()
	}
	ts.Check(st.process.Process.Signal(syscall.SIGTERM))
	if twice {
		untilNotReady(ts)
		ts.Check(st.process.Process.Signal(syscall.SIGTERM))
	}
	timer := time.AfterFunc(patience, func() { _ = st.process.Process.Kill() })
	defer timer.Stop()
	st.log.wait()
	cmd := st.process
	st.process = nil
	err := cmd.Wait()
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); twice && status.Signal() == syscall.SIGTERM {
		return
	}
	if err != nil || twice {
		ts.Fatalf("serve: %v\n%s", cmd.ProcessState, ts.ReadFile("serve.log"))
	}
}

// unfinished begins a request and does not end it.
func unfinished(ts *testscript.TestScript, target string) net.Conn {
	u, err := url.Parse(target)
	ts.Check(err)
	conn, err := net.Dial("tcp", u.Host)
	ts.Check(err)
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n", u.Path, u.Host)
	ts.Check(err)
	// The server asks for the body, so it is busy with the request.
	ts.Check(conn.SetReadDeadline(time.Now().Add(patience)))
	line, err := bufio.NewReader(conn).ReadString('\n')
	ts.Check(err)
	if !strings.Contains(line, "100 Continue") {
		ts.Fatalf("the receiver answers %q to a request without its body", line)
	}
	return conn
}

// untilNotReady asks until the process says that it stops.
func untilNotReady(ts *testscript.TestScript) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		r, err := http.NewRequest(http.MethodGet, ts.Getenv("ADMIN")+"/readyz", http.NoBody)
		ts.Check(err)
		resp, err := (&http.Client{Timeout: patience}).Do(r)
		ts.Check(err)
		resp.Body.Close()
		if resp.StatusCode == http.StatusServiceUnavailable {
			return
		}
	}
	ts.Fatalf("serve is still ready after SIGTERM")
}

// bellhopOf is the bellhop that the script runs.
func bellhopOf(ts *testscript.TestScript) string {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if path := filepath.Join(dir, "bellhop"); isFile(path) {
			return path
		}
	}
	ts.Fatalf("no bellhop in PATH")
	return ""
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// lines is the output of a process so far.
type lines struct {
	mu    sync.Mutex
	all   []string
	ended bool
	more  chan struct{} // closed and replaced when there is more
	done  chan struct{}
}

// follow reads until the process ends, into a file, too.
func follow(r io.Reader, file io.WriteCloser) *lines {
	l := &lines{more: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		defer file.Close()
		for s := bufio.NewScanner(r); s.Scan(); {
			fmt.Fprintln(file, s.Text())
			l.add(s.Text(), false)
		}
		l.add("", true)
	}()
	return l
}

func (l *lines) add(line string, ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all, l.ended = append(l.all, line), ended
	close(l.more)
	l.more = make(chan struct{})
}

func (l *lines) wait() { <-l.done }

// match waits for n lines that match, and returns the last one's groups.
func (l *lines) match(ts *testscript.TestScript, n int, expr string) []string {
	re, err := regexp.Compile(expr)
	ts.Check(err)
	deadline := time.After(patience)
	for seen := 0; ; {
		l.mu.Lock()
		news, ended, more := l.all[seen:], l.ended, l.more
		seen = len(l.all)
		l.mu.Unlock()
		for _, line := range news {
			if m := re.FindStringSubmatch(line); m != nil {
				if n--; n == 0 {
					return m
				}
			}
		}
		if ended {
			ts.Fatalf("serve ended without logging %s:\n%s", expr, ts.ReadFile("serve.log"))
		}
		select {
		case <-more:
		case <-deadline:
			ts.Fatalf("serve has not logged %s:\n%s", expr, ts.ReadFile("serve.log"))
		}
	}
}

// sink is a destination that keeps what it is sent.
type sink struct {
	server *httptest.Server
	dir    string

	mu     sync.Mutex
	status int
	count  int
	more   chan struct{}
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	if err := os.WriteFile(filepath.Join(s.dir, strconv.Itoa(s.count)), append(body, '\n'), 0o644); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	close(s.more)
	s.more = make(chan struct{})
	w.WriteHeader(s.status)
	fmt.Fprintln(w, "ok")
}

func sinkCommand(ts *testscript.TestScript, neg bool, args []string) {
	st := on(ts)
	if neg || len(args) > 1 || (len(args) == 1) != (st.sink != nil) {
		ts.Fatalf("usage: sink, then sink STATUS")
	}
	if st.sink != nil {
		status, err := strconv.Atoi(args[0])
		ts.Check(err)
		st.sink.mu.Lock()
		defer st.sink.mu.Unlock()
		st.sink.status = status
		return
	}
	s := &sink{dir: ts.MkAbs("sink"), status: http.StatusOK, more: make(chan struct{})}
	ts.Check(os.MkdirAll(s.dir, 0o755))
	s.server = httptest.NewServer(s)
	ts.Defer(s.server.Close)
	ts.Setenv("SINK", s.server.URL)
	st.sink = s
}

func sunkCommand(ts *testscript.TestScript, neg bool, args []string) {
	st := on(ts)
	if neg || len(args) != 1 || st.sink == nil {
		ts.Fatalf("usage: sunk N, after sink")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	deadline := time.After(patience)
	for {
		st.sink.mu.Lock()
		count, more := st.sink.count, st.sink.more
		st.sink.mu.Unlock()
		if count == n {
			return
		}
		if count > n {
			ts.Fatalf("%d requests came in, not %d", count, n)
		}
		select {
		case <-more:
		case <-deadline:
			ts.Fatalf("%d requests came in, not %d", count, n)
		}
	}
}

func captureCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: capture NAME REGEXP")
	}
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	m := re.FindStringSubmatch(ts.ReadFile("stdout"))
	if len(m) < 2 {
		ts.Fatalf("no match for %s in stdout", args[1])
	}
	ts.Setenv(args[0], m[1])
}

func exitsCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG…")
	}
	code, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != code {
		ts.Fatalf("%s exited with %d, not %d", strings.Join(args[1:], " "), got, code)
	}
}
