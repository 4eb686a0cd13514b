// Kitchen-sink uses as many parts of the language and its run-time library as fit on a few pages:
// what a linker has to keep, lay out and relocate for each of them. Its output never varies.
package main

import (
	"flag"
	"fmt"
	"os"
)

// version is meant to be set by -ldflags='-X main.version=…'.
var version = "unset"

// A section is one topic; its function prints what it computes.
type section struct {
	name string
	run  func()
}

var sections = []section{
	{"goroutines and channels", concurrency},
	{"select and timers", timers},
	{"garbage collection", collection},
	{"closures and defer", closures},
	{"panics", panics},
	{"maps", mapTypes},
	{"generics", generics},
	{"interfaces and method values", interfaces},
	{"reflection", reflection},
	{"embedded files and templates", embedded},
	{"text", text},
	{"numbers", numbers},
}

func main() {
	only := flag.String("only", "", "run the `section` of this name alone")
	flag.Parse()
	fmt.Println("version", version)
	ran := 0
	for _, s := range sections {
		if *only == "" || *only == s.name {
			fmt.Println("--", s.name)
			s.run()
			ran++
		}
	}
	if ran == 0 {
		fmt.Fprintf(os.Stderr, "no section %q\n", *only)
		os.Exit(1)
	}
}
