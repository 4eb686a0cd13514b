// Go and C call one another; C threads call Go; errno, structures, memory of C.
package main

/*
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <errno.h>
extern int goCallback(int);
static int call_back(int n) {
    int sum = 0;
    for (int i = 0; i < n; i++)
        sum += goCallback(i);
    return sum;
}
static void hello(const char *text) {
    printf("C says %s\n", text);
    fflush(stdout);
}
static int fails(void) {
    errno = ENOENT;
    return -1;
}
struct point { int x; double y; };
static struct point make_point(int x) { return (struct point){x, x * 1.5}; }
static void *work(void *argument) { return (void *)(long)goCallback((int)(long)argument); }
static long in_thread(int n) {
    pthread_t thread;
    void *result;
    pthread_create(&thread, 0, work, (void *)(long)n);
    pthread_join(thread, &result);
    return (long)result;
}
*/
import "C"
import (
	"fmt"
	"os"
	"os/user"
	"runtime"
	"unsafe"
)

//export goCallback
func goCallback(n C.int) C.int {
	runtime.GC()
	return n * 2
}

func main() {
	text := C.CString("hello from Go")
	C.hello(text)
	C.free(unsafe.Pointer(text))
	fmt.Println("callback", C.call_back(10))
	_, err := C.fails()
	fmt.Println("errno", err)
	point := C.make_point(4)
	fmt.Println("structure", point.x, point.y)
	fmt.Println("thread", C.in_thread(21))
	current, err := user.Current()
	fmt.Println("user", current.Uid == fmt.Sprint(os.Getuid()), err)
	defer func() {
		fmt.Println("recovered", recover())
		os.Exit(4)
	}()
	var nothing *int
	fmt.Println(*nothing)
}
