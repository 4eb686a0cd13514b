// Common symbols: C variables that two files declare and none initializes.
package main

/*
#cgo CFLAGS: -fcommon -O2
extern int shared[16];
extern int total;
int place(void);
int is_total(int *);
void fill(void);
*/
import "C"
import "fmt"

func main() {
	C.fill()
	fmt.Println(C.place(), C.total, C.shared[5], C.is_total(&C.total))
}
