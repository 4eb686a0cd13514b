// Hello is the smallest program of the examples: it greets and says what it runs on.
package main

import (
	"fmt"
	"runtime"
)

func main() {
	fmt.Println("Hello from Go on", runtime.GOOS+"/"+runtime.GOARCH)
}
