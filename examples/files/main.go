// Files works with what the system gives a program: arguments, environment, standard streams,
// files and folders. It upper-cases standard input and each named file into a new folder.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

func copyUpper(to io.Writer, from io.Reader) (lines int, err error) {
	out := bufio.NewWriter(to)
	in := bufio.NewScanner(from)
	for ; in.Scan(); lines++ {
		fmt.Fprintln(out, strings.ToUpper(in.Text()))
	}
	return lines, errors.Join(in.Err(), out.Flush())
}

func convert(folder, name string) error {
	from, err := os.Open(name)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.Create(filepath.Join(folder, filepath.Base(name)))
	if err != nil {
		return err
	}
	lines, err := copyUpper(to, from)
	fmt.Fprintf(os.Stderr, "%s: %d lines\n", filepath.Base(name), lines)
	return errors.Join(err, to.Close())
}

func run(names []string) error {
	fmt.Printf("%d arguments, GREETING=%q\n", len(names), os.Getenv("GREETING"))
	if _, err := copyUpper(os.Stdout, os.Stdin); err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "files")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	var failed error
	for _, name := range names {
		failed = errors.Join(failed, convert(folder, name))
	}
	err = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		fmt.Printf("%s: %d bytes: %s", entry.Name(), len(content), content)
		return err
	})
	return errors.Join(failed, err)
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "files:", err)
		os.Exit(3)
	}
}
