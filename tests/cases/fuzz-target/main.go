// Fuzz-target has in its objects what the linker looks at: types with methods, itabs, generics,
// closures, map initializers, pointers in data and in zero-fill, all tables of functions. It
// imports nothing but part, so that it links fast.
package main

import "example/part"

type shape interface {
	area() int
	Name() string
}

type square struct{ side int }

func (s square) area() int    { return s.side * s.side }
func (s square) Name() string { return "square" }

type named struct {
	shape
	labels map[string]*named
	next   [3]*named
	hook   func(int) int
}

func (n *named) Name() string { return "named " + n.shape.Name() }

var (
	table = map[string]int{
		"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6, "g": 7, "h": 8, "i": 9, "j": 10, "k": 11,
		"l": 12, "m": 13, "n": 14, "o": 15, "p": 16, "q": 17, "r": 18, "s": 19, "t": 20, "u": 21,
	}
	root  = &named{shape: square{3}, next: [3]*named{{shape: square{1}}}}
	room  [64]*named
	bytes [512]byte
	text  = []string{"one", "two", "three"}
)

type list[T any] struct {
	items []T
}

func (l *list[T]) push(item T) { l.items = append(l.items, item) }

func fold[T, R any](items []T, start R, step func(R, T) R) R {
	for _, item := range items {
		start = step(start, item)
	}
	return start
}

func risky(at int) (result string) {
	defer func() {
		if problem := recover(); problem != nil {
			result = problem.(error).Error()
		}
	}()
	return text[at]
}

func describe(value any) string {
	switch v := value.(type) {
	case interface{ Name() string }:
		return v.Name()
	case string:
		return v
	case func(int) int:
		return "function"
	}
	return "something"
}

func main() {
	var numbers list[int]
	done := make(chan int, 1)
	for name, value := range table {
		numbers.push(value + len(name))
	}
	go func() { done <- fold(numbers.items, 0, func(sum, item int) int { return sum + item }) }()
	select {
	case sum := <-done:
		println(sum)
	}
	root.hook = func(n int) int { return n + len(room) + len(bytes) }
	println(describe(root), describe(root.hook), describe(part.Twice(4)), risky(7))
	println(part.Add(2, 3), part.Largest([]float64{1, 3, 2}) > 2, part.Message)
}
