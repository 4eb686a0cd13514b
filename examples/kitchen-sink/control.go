package main

import (
	"errors"
	"fmt"
	"iter"
	"runtime"
	"strings"
)

func counter(step int) func() int {
	n := 0
	return func() int {
		n += step
		return n
	}
}

func evens(limit int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for n := 0; n < limit; n += 2 {
			if !yield(n) {
				return
			}
		}
	}
}

// closures shares variables between functions, and runs deferred calls in reverse.
func closures() {
	a, b := counter(1), counter(10)
	a()
	fmt.Println(a(), b(), b())
	for i := range 3 {
		defer fmt.Println("deferred", i)
	}
	for n := range evens(100) {
		if n > 6 {
			break
		}
		fmt.Print(n, " ")
	}
	fmt.Println()
	next, stop := iter.Pull(evens(6))
	defer stop()
	for v, ok := next(); ok; v, ok = next() {
		fmt.Print(v, ",")
	}
	fmt.Println()
}

type notFound struct{ name string }

func (e *notFound) Error() string { return e.name + " not found" }

// try runs f and tells how it ended.
func try(f func()) (outcome string) {
	defer func() {
		switch r := recover().(type) {
		case nil:
			outcome = "returned"
		case runtime.Error:
			outcome = "run-time error: " + strings.TrimPrefix(r.Error(), "runtime error: ")
		case error:
			outcome = "error: " + r.Error()
		default:
			outcome = fmt.Sprint("panic: ", r)
		}
	}()
	f()
	return
}

// panics recovers from each kind of panic, those of the hardware among them.
func panics() {
	var nilNode *node
	var nilMap map[string]int
	var any any = "text"
	zero, index := len(nilMap), 5
	fmt.Println(try(func() {}))
	fmt.Println(try(func() { panic("on purpose") }))
	fmt.Println(try(func() { panic(&notFound{"it"}) }))
	fmt.Println(try(func() { _ = nilNode.value }))
	fmt.Println(try(func() { fmt.Println(1 / zero) }))
	fmt.Println(try(func() { fmt.Println([]int{1, 2, 3}[index]) }))
	fmt.Println(try(func() { nilMap["a"] = 1 }))
	fmt.Println(try(func() { fmt.Println(any.(int)) }))
	fmt.Println(try(func() { close((chan int)(nil)) }))
	wrapped := fmt.Errorf("while looking: %w", &notFound{"key"})
	var missing *notFound
	fmt.Println(errors.As(wrapped, &missing), missing.name, wrapped)
	pc, _, _, _ := runtime.Caller(0)
	fmt.Println(runtime.FuncForPC(pc).Name())
}
