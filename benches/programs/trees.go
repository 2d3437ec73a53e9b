// Trees on Go's collector. See README.md beside this file.
package main

import (
	"bufio"
	"fmt"
	"math/bits"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"time"
)

const (
	nodes       = 256
	buckets     = 1024
	longs       = 1 << 16
	longNs      = 50000
	threads     = 2
)

type node struct {
	left, right *node
	i, j        int32
}

// What one thread has seen. No pointers: the collector does not scan it.
type run struct {
	first, last, end int64
	count, lost, n   uint32
	buckets          [buckets]uint32
	longs            [2 * longs]int64
}

var (
	runs  [threads]run
	began = time.Now()
)

func now() int64 { return int64(time.Since(began)) }

func bucket(ns int64) int {
	log := 63 - bits.LeadingZeros64(uint64(ns)|1)
	if log >= 4 {
		return log*16 + int(ns>>(log-4))&15
	}
	return log*16 + int(ns<<(4-log))&15
}

func (r *run) tick() {
	r.count++
	if r.count%nodes != 0 {
		return
	}
	t := now()
	gap := t - r.last
	r.buckets[bucket(gap)]++
	if gap >= longNs {
		if r.n < longs {
			r.longs[2*r.n], r.longs[2*r.n+1] = r.last-r.first, gap
			r.n++
		} else {
			r.lost++
		}
	}
	r.last = t
}

func (r *run) node(left, right *node) *node {
	n := &node{left: left, right: right, i: 1}
	r.tick()
	return n
}

func (r *run) bottomUp(depth int) *node {
	if depth == 0 {
		return r.node(nil, nil)
	}
	left := r.bottomUp(depth - 1)
	return r.node(left, r.bottomUp(depth-1))
}

func (r *run) topDown(depth int, n *node) {
	if depth == 0 {
		return
	}
	n.left = r.node(nil, nil)
	n.right = r.node(nil, nil)
	r.topDown(depth-1, n.left)
	r.topDown(depth-1, n.right)
}

func (r *run) sum(n *node) uint64 {
	if n == nil {
		return 0
	}
	r.tick()
	return uint64(n.i) + r.sum(n.left) + r.sum(n.right)
}

func (r *run) gcbench(depth int) uint64 {
	const array = 500000
	var result uint64
	longLived := r.node(nil, nil)
	r.topDown(depth, longLived)
	numbers := make([]float64, array)
	for i := range numbers {
		numbers[i] = 1.0 / float64(i+1)
	}
	for d := 4; d <= 16; d += 2 {
		times := (2 << 18) / ((2 << d) - 1) * 2
		if depth > 21 {
			times <<= depth - 21
		}
		for i := 0; i < times; i++ {
			tree := r.node(nil, nil)
			r.topDown(d, tree)
			result += uint64(tree.i)
		}
		for i := 0; i < times; i++ {
			result += uint64(r.bottomUp(d).i)
		}
	}
	result += r.sum(longLived)
	if numbers[1000] == 1.0/float64(1001) {
		result++
	}
	return result
}

func (r *run) binary(depth int) uint64 {
	var result uint64
	longLived := r.bottomUp(depth)
	for d := 4; d <= depth; d += 4 {
		for i := 0; i < 1<<(depth-d+2); i++ {
			result += r.sum(r.bottomUp(d))
		}
	}
	return result + r.sum(longLived)
}

func main() {
	depth, _ := strconv.Atoi(os.Args[2])
	count := 1
	if os.Args[1] == "threads" {
		count = threads
	}
	var results [threads]uint64
	var wait sync.WaitGroup
	for t := 0; t < count; t++ {
		wait.Add(1)
		go func(t int) {
			defer wait.Done()
			r := &runs[t]
			r.first = now()
			r.last = r.first
			switch os.Args[1] {
			case "threads":
				results[t] = r.binary(depth - 1)
			case "gcbench":
				results[t] = r.gcbench(depth)
			default:
				results[t] = r.binary(depth)
			}
			r.end = now()
		}(t)
	}
	wait.Wait()
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	fmt.Fprintf(out, "result %d\nthreads %d\n", results[0]+results[1], count)
	for t := 0; t < count; t++ {
		r := &runs[t]
		for b, n := range r.buckets {
			if n != 0 {
				fmt.Fprintf(out, "gap %d %d\n", b, n)
			}
		}
		for n := uint32(0); n < r.n; n++ {
			fmt.Fprintf(out, "long %d %d %d\n", t, r.longs[2*n], r.longs[2*n+1])
		}
		fmt.Fprintf(out, "lost %d\nrun %d %d\n", r.lost, t, r.end-r.first)
	}
	var stats debug.GCStats
	debug.ReadGCStats(&stats)
	for _, pause := range stats.Pause {
		fmt.Fprintf(out, "pause %d\n", pause.Nanoseconds())
	}
}
