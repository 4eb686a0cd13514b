// Go with C++: exceptions, templates, virtual functions, static initializers, thread-locals with
// destructors, and iostream, behind a C interface.
package main

/*
#cgo CXXFLAGS: -std=c++17
#cgo darwin LDFLAGS: -lc++
#include <stdlib.h>
#include "shapes.h"
*/
import "C"

import (
	"fmt"
	"unsafe"
)

func evaluate(expression string) (float64, error) {
	text := C.CString(expression)
	defer C.free(unsafe.Pointer(text))
	var result C.double
	if message := C.evaluate(text, &result); message != nil {
		defer C.free(unsafe.Pointer(message))
		return 0, fmt.Errorf("%s", C.GoString(message))
	}
	return float64(result), nil
}

//export goLog
func goLog(text *C.char) { fmt.Println("  from C++:", C.GoString(text)) }

func main() {
	fmt.Println("static initializers ran, in order:", C.GoString(C.initialized()))
	for _, expression := range []string{
		"1 + 2 * 3", "(1 + 2) * 3 - -4", "2 * (3 + 4) / 7", "1 / 0", "1 + ", "(1", "2 $ 3",
	} {
		if value, err := evaluate(expression); err != nil {
			fmt.Printf("%-18s error: %v\n", expression, err)
		} else {
			fmt.Printf("%-18s = %g\n", expression, value)
		}
	}
	fmt.Println("total area by virtual calls:", float64(C.total_area()))
	fmt.Println("exceptions through", int(C.unwind_depth(50)), "frames, each destructor once")
	fmt.Println("caught by type:", C.GoString(C.catch_each()))
	fmt.Println("sorted by templates:", C.GoString(C.sorted()))
	C.log_from_cxx()
	fmt.Println("thread-locals, in four threads:", int(C.thread_locals()))
	C.print_with_iostream()
}
