// A package path whose last element holds a period: symbol names spell it v%2e2.
package main

import inner "example.com/x/v.2"

func main() { println(inner.Name) }
