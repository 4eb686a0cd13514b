package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// concurrency sums squares by a pool of goroutines and counts under a mutex and an atomic.
func concurrency() {
	jobs, results := make(chan int), make(chan int, 4)
	var pool sync.WaitGroup
	for range 8 {
		pool.Go(func() {
			for n := range jobs {
				results <- n * n
			}
		})
	}
	go func() {
		for n := range 1000 {
			jobs <- n
		}
		close(jobs)
		pool.Wait()
		close(results)
	}()
	sum := 0
	for square := range results {
		sum += square
	}
	fmt.Println("sum of squares", sum)

	var lock sync.Mutex
	var count int
	var atomicCount atomic.Int64
	var once sync.Once
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			once.Do(func() { atomicCount.Add(1000) })
			for range 20 {
				lock.Lock()
				count++
				lock.Unlock()
				atomicCount.Add(1)
				runtime.Gosched()
			}
		})
	}
	all.Wait()
	fmt.Println("counted", count, atomicCount.Load())
}

// timers waits for whichever of several things happens first.
func timers() {
	never := make(chan struct{})
	select {
	case <-never:
		fmt.Println("never")
	case <-time.After(time.Millisecond):
		fmt.Println("time is up")
	}
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for i := range 3 {
		<-ticker.C
		fmt.Println("tick", i)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	<-ctx.Done()
	fmt.Println(ctx.Err(), errors.Is(ctx.Err(), context.DeadlineExceeded))
	select {
	case <-never:
	default:
		fmt.Println("nothing is ready")
	}
}

type node struct {
	left, right *node
	value       int
}

func grow(depth int) *node {
	if depth == 0 {
		return &node{value: 1}
	}
	return &node{grow(depth - 1), grow(depth - 1), depth}
}

func (n *node) sum() int {
	if n == nil {
		return 0
	}
	return n.left.sum() + n.right.sum() + n.value
}

// collection makes garbage, checks that what is reachable survives, and that a cleanup runs.
func collection() {
	kept := grow(10)
	for range 20 {
		_ = grow(12).sum()
	}
	cleaned := make(chan string, 1)
	func() {
		lost := grow(1)
		runtime.AddCleanup(lost, func(name string) { cleaned <- name }, "cleaned up")
	}()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 10 {
		runtime.GC()
	}
	var after runtime.MemStats
	runtime.ReadMemStats(&after)
	fmt.Println("kept", kept.sum(), "collected", after.NumGC >= before.NumGC+10)
	fmt.Println(<-cleaned)
}
