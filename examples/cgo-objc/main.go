// Go with Objective-C: a class and a category of its own, constant strings, @try, and Foundation.
//
// Foundation's headers need Apple's SDK, so what is used of it is declared in foundation.h. The
// program links without an SDK; it runs on macOS.
package main

/*
#cgo CFLAGS: -fno-objc-arc
#cgo LDFLAGS: -framework Foundation
#include <stdlib.h>
#include "greeter.h"
*/
import "C"

import (
	"fmt"
	"unsafe"
)

//export greeted
func greeted(count C.int) { fmt.Println("greetings so far:", int(count)) }

func main() {
	name := C.CString("Gopher")
	defer C.free(unsafe.Pointer(name))
	greeting := C.greet(name)
	defer C.free(unsafe.Pointer(greeting))
	fmt.Println(C.GoString(greeting))
	fmt.Println("the host has a name:", int(C.host_name_length()) > 0)
}
