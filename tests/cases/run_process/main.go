// Arguments, environment, standard streams, files, signals and exit codes.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "failed:", err)
		os.Exit(99)
	}
}

func files(root string) {
	path := filepath.Join(root, "a", "b")
	check(os.MkdirAll(path, 0o755))
	name := filepath.Join(path, "text")
	check(os.WriteFile(name, []byte("one\ntwo\n"), 0o640))
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	check(err)
	fmt.Fprintf(f, "three %d\n", 3)
	check(f.Close())
	data, err := os.ReadFile(name)
	check(err)
	fmt.Printf("read %q\n", data)
	check(os.Symlink("text", filepath.Join(path, "link")))
	check(os.Rename(name, filepath.Join(path, "moved")))
	_, err = os.Stat(name)
	fmt.Println("gone", errors.Is(err, fs.ErrNotExist))
	info, err := os.Stat(filepath.Join(path, "moved"))
	check(err)
	fmt.Println("stat", info.Size(), info.Mode(), time.Since(info.ModTime()) < time.Minute)
	when := time.Unix(1_600_000_000, 0)
	check(os.Chtimes(filepath.Join(path, "moved"), when, when))
	var seen []string
	check(filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(root, p)
		seen = append(seen, fmt.Sprintf("%s:%v", rel, d.Type()))
		return err
	}))
	sort.Strings(seen)
	fmt.Println("walk", strings.Join(seen, " "))
	target, err := os.Readlink(filepath.Join(path, "link"))
	check(err)
	fmt.Println("link", target)
	check(os.Truncate(filepath.Join(path, "moved"), 3))
	f, err = os.Open(filepath.Join(path, "moved"))
	check(err)
	end, err := f.Seek(0, io.SeekEnd)
	check(err)
	fmt.Println("end", end)
	check(f.Close())
	_, err = f.Write([]byte("x"))
	fmt.Println("closed", errors.Is(err, os.ErrClosed))
	check(os.RemoveAll(filepath.Join(root, "a")))
	entries, err := os.ReadDir(root)
	check(err)
	fmt.Println("left", len(entries))
}

func pipes() {
	r, w, err := os.Pipe()
	check(err)
	go func() {
		time.Sleep(5 * time.Millisecond)
		fmt.Fprintln(w, "through the pipe")
		w.Close()
	}()
	data, err := io.ReadAll(r)
	check(err)
	fmt.Printf("pipe %q\n", data)
}

func signals() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	check(syscall.Kill(os.Getpid(), syscall.SIGUSR1))
	fmt.Println("signal", <-c)
}

func main() {
	fmt.Println("args", len(os.Args)-1, strings.Join(os.Args[1:], "|"))
	fmt.Println("env", os.Getenv("PIELINK_TEST"), os.Getenv("PIELINK_UNSET") == "")
	lines := bufio.NewScanner(os.Stdin)
	count := 0
	for lines.Scan() {
		count += len(lines.Text())
	}
	fmt.Println("stdin", count)
	files(os.Args[1])
	pipes()
	signals()
	fmt.Fprintln(os.Stderr, "to stderr")
	code, err := strconv.Atoi(os.Args[2])
	check(err)
	os.Exit(code)
}
