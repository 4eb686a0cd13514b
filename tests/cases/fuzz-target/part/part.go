// Package part is imported by fuzz-target: references between packages, assembly, generics.
package part

// Message can be set by -X.
var Message = "set at compile time"

var counts [8]int

// Number is a type with methods of its own.
type Number int

// Name makes Number satisfy an interface of another package.
func (n Number) Name() string {
	counts[int(n)%len(counts)]++
	return [...]string{"zero", "one", "two", "many"}[min(int(n), 3)]
}

// Twice returns its argument, doubled.
func Twice(n int) Number { return Number(2 * n) }

// Add is in assembly.
func Add(a, b int) int

// Largest returns the largest item.
func Largest[T int | float64](items []T) T {
	largest := items[0]
	for _, item := range items[1:] {
		largest = max(largest, item)
	}
	return largest
}
