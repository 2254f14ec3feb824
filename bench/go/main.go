// Acquire and release over the servers of the benchmark: main LIBRARY PORTS CONCURRENCY CYCLES ROUNDS, one JSON line per round.
//
// redsync asks independent servers. rueidislock knows no such thing: it takes as many keys on one server (or Cluster).
package main

import (
	"context"
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
	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidislock"
)

const ttl = 10 * time.Second

// cycle acquires and releases one key.
type cycle func(key string) error

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
	library, ports := os.Args[1], strings.Split(os.Args[2], ",")
	concurrency, cycles, rounds := number(os.Args[3]), number(os.Args[4]), number(os.Args[5])
	var run cycle
	switch library {
	case "redsync":
		run = overServers(ports, concurrency)
	case "rueidislock":
		run = overKeys(ports[0], len(ports))
	default:
		fail(fmt.Errorf("no such library: %s", library))
	}
	for round := 0; round <= rounds; round++ {
		measured := measure(run, fmt.Sprintf("go:%s:%d:%d", library, concurrency, round), concurrency, cycles)
		if round == 0 {
			continue // The first round warms up.
		}
		line, _ := json.Marshal(measured)
		fmt.Println(string(line))
	}
}

func overServers(ports []string, concurrency int) cycle {
	var pools []redsyncredis.Pool
	for _, port := range ports {
		client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + port, PoolSize: concurrency})
		pools = append(pools, goredis.NewPool(client))
	}
	locks := redsync.New(pools...)
	return func(key string) error {
		mutex := locks.NewMutex(key, redsync.WithTries(1), redsync.WithExpiry(ttl))
		if err := mutex.Lock(); err != nil {
			return err
		}
		_, err := mutex.Unlock()
		return err
	}
}

func overKeys(port string, keys int) cycle {
	locker, err := rueidislock.NewLocker(rueidislock.LockerOption{
		ClientOption:   rueidis.ClientOption{InitAddress: []string{"127.0.0.1:" + port}},
		KeyMajority:    int32(keys/2 + 1),
		KeyValidity:    ttl,
		NoLoopTracking: true,
	})
	if err != nil {
		fail(err)
	}
	return func(key string) error {
		_, release, err := locker.TryWithContext(context.Background(), key)
		if err != nil {
			return err
		}
		release()
		return nil
	}
}

func measure(run cycle, prefix string, concurrency, cycles int) result {
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
				if err := run(fmt.Sprintf("%s:%d", prefix, i)); err != nil {
					fail(err)
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

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
