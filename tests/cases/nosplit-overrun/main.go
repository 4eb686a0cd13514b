// Assembly functions that use more stack than a chain of nosplit functions may.
package main

func main() { start() }

func start()
