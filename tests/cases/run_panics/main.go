// Ends in the way that its argument names.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
)

type pair struct{ first, second *int }

func index(values []int, at int) int {
	return values[at] // PANIC index
}

func dereference(p *pair) int {
	return *p.second // PANIC nil
}

func recovered() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("recovered: %v", r)
		}
	}()
	var p *pair
	return fmt.Errorf("unreachable %d", dereference(p))
}

func main() {
	switch os.Args[1] {
	case "index":
		fmt.Println(index([]int{1, 2, 3}, len(os.Args)+3))
	case "nil":
		fmt.Println(dereference(nil))
	case "error":
		panic(errors.New("custom")) // PANIC error
	case "recover":
		fmt.Println(recovered())
	case "divide":
		fmt.Println(1 / (len(os.Args) - 2)) // PANIC divide
	case "deadlock":
		select {}
	case "stack":
		debug.SetMaxStack(1 << 20)
		var deep func(int) int
		deep = func(n int) int { return deep(n+1) + 1 }
		fmt.Println(deep(0))
	}
}
