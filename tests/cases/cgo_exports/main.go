package main

/*
#include <stdio.h>
#include <stdlib.h>
static int add(int a, int b) { return a + b; }
int twice(int x);
extern int goTriple(int);
int callGo(int x);
*/
import "C"
import "fmt"

//export goTriple
func goTriple(x C.int) C.int { return x * 3 }

func main() { fmt.Println(C.add(1, 2), C.twice(21), C.callGo(5)) }
