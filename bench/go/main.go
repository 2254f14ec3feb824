// Acquire and release with redsync over the servers of the benchmark: main PORTS CONCURRENCY CYCLES ROUNDS, one JSON line per round.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-redsync/redsync/v4"
	redsyncredis "github.com/go-redsync/redsync/v4/redis"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"
)

type result struct {
	P50       float64 `json:"p50"`
	P99       float64 `json:"p99"`
	PerSecond float64 `json:"perSecond"`
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	if err != nil {
		fmt.Fprintln(os.Stderr, "not a number:", text)
		os.Exit(64)
	}
	return value
}

func main() {
	ports := strings.Split(os.Args[1], ",")
	concurrency, cycles, rounds := number(os.Args[2]), number(os.Args[3]), number(os.Args[4])
	var pools []redsyncredis.Pool
	for _, port := range ports {
		client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + port, PoolSize: concurrency})
		pools = append(pools, goredis.NewPool(client))
	}
	locks := redsync.New(pools...)
	for round := 0; round <= rounds; round++ {
		run := measure(locks, concurrency, cycles, round)
		if round == 0 {
			continue // The first round warms up.
		}
		line, _ := json.Marshal(run)
		fmt.Println(string(line))
	}
}

func measure(locks *redsync.Redsync, concurrency, cycles, round int) result {
	var next atomic.Int64
	times := make([]float64, cycles)
	var workers sync.WaitGroup
	start := time.Now()
	for w := 0; w < concurrency; w++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for {
				i := int(next.Add(1)) - 1
				if i >= cycles {
					return
				}
				at := time.Now()
				mutex := locks.NewMutex(fmt.Sprintf("go:%d:%d:%d", concurrency, round, i), redsync.WithTries(1), redsync.WithExpiry(10*time.Second))
				if err := mutex.Lock(); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				if _, err := mutex.Unlock(); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				times[i] = float64(time.Since(at).Nanoseconds()) / 1000
			}
		}()
	}
	workers.Wait()
	wall := time.Since(start).Seconds()
	sort.Float64s(times)
	return result{P50: times[cycles/2], P99: times[cycles*99/100], PerSecond: float64(cycles) / wall}
}
