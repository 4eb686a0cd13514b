// Goroutines, channels, select, timers, mutexes and the garbage collector at work together.
package main

import (
	"context"
	"fmt"
	"runtime"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

type node struct {
	left, right *node
	value       int
}

func grow(depth int) *node {
	if depth == 0 {
		return &node{value: 1}
	}
	return &node{grow(depth - 1), grow(depth - 1), 0}
}

func (n *node) sum() int {
	if n == nil {
		return 0
	}
	return n.value + n.left.sum() + n.right.sum()
}

func pipeline() int {
	numbers, squares := make(chan int), make(chan int, 4)
	var workers sync.WaitGroup
	for range 4 {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for n := range numbers {
				squares <- n * n
			}
		}()
	}
	go func() {
		for i := range 200 {
			numbers <- i
		}
		close(numbers)
		workers.Wait()
		close(squares)
	}()
	total := 0
	for s := range squares {
		total += s
	}
	return total
}

func timers() string {
	var order []string
	var mutex sync.Mutex
	var done sync.WaitGroup
	for _, delay := range []int{3, 1, 2} {
		done.Add(1)
		time.AfterFunc(time.Duration(delay)*time.Second, func() {
			mutex.Lock()
			order = append(order, fmt.Sprint(delay))
			mutex.Unlock()
			done.Done()
		})
	}
	done.Wait()
	return strings.Join(order, " ")
}

func selects() string {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	ticks, ticker := 0, time.NewTicker(500*time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			ticks++
		case <-ctx.Done():
			return fmt.Sprintf("%v after some ticks: %v", ctx.Err(), ticks > 0)
		}
	}
}

// A goroutine that never yields must not stop the collector: it takes a preemption signal.
func spinner() bool {
	var stop atomic.Bool
	var spins int
	done := make(chan bool)
	go func() {
		for !stop.Load() {
			spins++
		}
		done <- true
	}()
	time.Sleep(2 * time.Millisecond)
	for range 3 {
		runtime.GC()
	}
	stop.Store(true)
	return <-done
}

func main() {
	fmt.Println("pipeline", pipeline())
	var trees sync.WaitGroup
	sums := make([]int, 4)
	for i := range sums {
		trees.Add(1)
		go func() { defer trees.Done(); sums[i] = grow(10 + i).sum() }()
	}
	trees.Wait()
	fmt.Println("trees", sums)
	fmt.Println("timers", timers())
	fmt.Println("select", selects())
	fmt.Println("spinner", spinner())
	words := map[string]int{}
	for _, word := range strings.Fields("the cat and the dog and the bird") {
		words[word]++
	}
	keys := make([]string, 0, len(words))
	for key := range words {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	fmt.Println("words", keys, words)
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	fmt.Println("collected", stats.NumGC >= 3)
}
