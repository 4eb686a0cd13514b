// Go calls C, and C calls back into Go: sorting with a Go comparison, walking a tree that lives
// in C memory, and a callback on a thread that C made.
package main

/*
#include <stdlib.h>
#include "walk.h"
*/
import "C"

import (
	"fmt"
	"os"
	"runtime/cgo"
	"strings"
	"unsafe"
)

// visitor is what a walk carries from Go through C and back.
type visitor struct {
	words []string
	sum   int
}

//export visitNode
func visitNode(handle C.uintptr_t, depth C.int, word *C.char, value C.int) {
	v := cgo.Handle(handle).Value().(*visitor)
	v.words = append(v.words, strings.Repeat("  ", int(depth))+C.GoString(word))
	v.sum += int(value)
}

//export compareWords
func compareWords(a, b unsafe.Pointer) C.int {
	return C.int(strings.Compare(
		strings.ToLower(C.GoString(*(**C.char)(a))),
		strings.ToLower(C.GoString(*(**C.char)(b)))))
}

//export fromThread
func fromThread(handle C.uintptr_t, number C.int) C.int {
	results := cgo.Handle(handle).Value().(chan int)
	results <- int(number) * int(number)
	return number + 1
}

func sortWords(words []string) []string {
	array := C.malloc(C.size_t(len(words)) * C.size_t(unsafe.Sizeof((*C.char)(nil))))
	defer C.free(array)
	pointers := unsafe.Slice((**C.char)(array), len(words))
	for i, word := range words {
		pointers[i] = C.CString(word)
	}
	C.sort_words((**C.char)(array), C.size_t(len(words)))
	sorted := make([]string, len(words))
	for i, pointer := range pointers {
		sorted[i] = C.GoString(pointer)
		C.free(unsafe.Pointer(pointer))
	}
	return sorted
}

func walk(words []string) *visitor {
	tree := C.tree_new()
	defer C.tree_free(tree)
	for i, word := range words {
		text := C.CString(word)
		C.tree_insert(tree, text, C.int(i))
		C.free(unsafe.Pointer(text))
	}
	v := &visitor{}
	handle := cgo.NewHandle(v)
	defer handle.Delete()
	C.tree_walk(tree, C.uintptr_t(handle))
	return v
}

func threads(count int) (sum int, last int) {
	results := make(chan int, count)
	handle := cgo.NewHandle(results)
	defer handle.Delete()
	last = int(C.call_from_threads(C.int(count), C.uintptr_t(handle)))
	for range count {
		sum += <-results
	}
	return sum, last
}

func main() {
	words := strings.Fields("Pears apples Oranges figs Grapes bananas Cherries dates Kiwis lemons")
	fmt.Println("sorted by C's qsort, compared by Go:", sortWords(words))
	v := walk(words)
	fmt.Println("a tree in C, visited by Go:")
	fmt.Println(strings.Join(v.words, "\n"))
	fmt.Println("sum of the values:", v.sum)
	sum, last := threads(8)
	fmt.Println("squares from eight threads of C:", sum, "last return value:", last)
	fmt.Println("C's constructor ran before main:", C.GoString(C.greeting()))
	if _, err := C.fail_with_errno(C.int(2)); err != nil {
		fmt.Println("errno comes back as an error:", err)
	}
	if len(os.Args) > 1 {
		fmt.Println("arguments:", os.Args[1:])
	}
}
