// Prints how far a C variable that asks for 256 bytes of alignment is from it.
package main

/*
static char filler[3] = {1, 2, 3};
static _Alignas(256) volatile char block[256] = {1};
static unsigned long distance(void) { return (unsigned long)block % 256 + filler[0] - 1; }
*/
import "C"
import "fmt"

func main() { fmt.Println(C.distance()) }
