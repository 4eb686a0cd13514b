// Panics ends the way its argument says: each a fault that Go reports with a traceback and exit
// status 2, or an exit with a status of its own.
package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
)

type list struct {
	next  *list
	value int
}

func index(values []int, i int) int { return values[i] }

func dereference(l *list) int { return l.value }

func divide(a, b int) int { return a / b }

func recurse(n int) int {
	if n == 0 {
		panic(errors.New("at the bottom"))
	}
	return recurse(n-1) + 1
}

func inGoroutine() {
	done := make(chan int)
	go func() { done <- index(nil, 3) }()
	<-done
}

var ways = map[string]func(){
	"index":       func() { index([]int{1, 2, 3}, 5) },
	"nil":         func() { dereference(nil) },
	"divide":      func() { divide(1, len(os.Args)-2) },
	"error":       func() { recurse(3) },
	"goroutine":   inGoroutine,
	"deadlock":    func() { select {} },
	"nested":      func() { defer func() { panic("second") }(); panic("first") },
	"unrecovered": func() { defer fmt.Println("deferred calls run"); panic("third") },
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: panics STATUS or one of index, nil, divide, error, …")
		os.Exit(64)
	}
	if status, err := strconv.Atoi(os.Args[1]); err == nil {
		os.Exit(status)
	}
	way, ok := ways[os.Args[1]]
	if !ok {
		fmt.Fprintf(os.Stderr, "no way %q\n", os.Args[1])
		os.Exit(64)
	}
	way()
}
