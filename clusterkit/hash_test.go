package clusterkit

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// TestSlots has vectors of the Redis Cluster specification and of Redis
// itself (CLUSTER KEYSLOT).
func TestSlots(t *testing.T) {
	if got := crc16("123456789"); got != 0x31C3 {
		t.Errorf("CRC16 of 123456789 is %#x, want 0x31c3", got)
	}
	for key, want := range map[string]int{
		"":                        0,
		"foo":                     12182,
		"bar":                     5061,
		"{foo}.one":               12182,
		"two.{foo}":               12182,
		"{foo}{bar}":              12182,
		"user:{user1000}:profile": Slot("user1000"),
	} {
		if got := Slot(key); got != want {
			t.Errorf("slot of %q is %d, want %d", key, got, want)
		}
	}
	if Slot("{}foo") == Slot("foo") || Slot("{foo") == Slot("foo") || Slot("foo{}") == Slot("foo") {
		t.Error("an empty or open tag must not count")
	}
}

// TestPartitionsNeverChange pins the functions: a cluster's data lie where
// they say.
func TestPartitionsNeverChange(t *testing.T) {
	for _, tt := range []struct {
		hash, key   string
		count, want int
	}{
		{HashXX64, "", 16, 14},
		{HashXX64, "user:123", 16, 11},
		{HashXX64, "user:123", 1000, 695},
		{HashCRC16Slots, "foo", 16, 11},
		{HashCRC16Slots, "foo", 16384, 12182},
		{HashCRC16Slots, "foo", 3, 2},
	} {
		if got := partitionOf(tt.hash, tt.key, tt.count); got != tt.want {
			t.Errorf("%s: %q of %d is %d, want %d", tt.hash, tt.key, tt.count, got, tt.want)
		}
	}
}

func TestEveryKeyHasAPartition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hash := rapid.SampledFrom([]string{HashXX64, HashCRC16Slots}).Draw(t, "hash")
		count := rapid.IntRange(1, MaxPartitions).Draw(t, "count")
		key := string(rapid.SliceOf(rapid.Byte()).Draw(t, "key"))
		if got := partitionOf(hash, key, count); got < 0 || got >= count {
			t.Fatalf("partition %d of %d", got, count)
		}
	})
}

func TestKeysSpread(t *testing.T) {
	for _, hash := range []string{HashXX64, HashCRC16Slots} {
		counts := make([]int, 16)
		for i := range 16000 {
			counts[partitionOf(hash, fmt.Sprintf("user:%d", i), len(counts))]++
		}
		for partition, n := range counts {
			if n < 800 || n > 1200 {
				t.Errorf("%s: partition %d gets %d of 16000 keys", hash, partition, n)
			}
		}
	}
}

func BenchmarkGetPartition(b *testing.B) {
	for _, hash := range []string{HashXX64, HashCRC16Slots} {
		b.Run(hash, func(b *testing.B) {
			m := foundedMap(256, 3)
			m.Config.Hash = hash
			ck := &ClusterKit{state: &fsm{}}
			ck.state.current.Store(m)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ck.GetPartition("user:1234567890"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestGetPartitionDoesNotAllocate(t *testing.T) {
	ck := &ClusterKit{state: &fsm{}}
	if _, err := ck.GetPartition("a"); !errors.Is(err, ErrNotReady) {
		t.Errorf("before the first map: %v", err)
	}
	ck.state.current.Store(foundedMap(16, 3))
	key := []byte("user:{123}:x")
	allocations := testing.AllocsPerRun(100, func() {
		p, err := ck.GetPartition("user:{123}:x")
		if i, indexErr := ck.PartitionIndex(key); err != nil || indexErr != nil || i != p.Index {
			t.Fatal("the two lookups differ")
		}
	})
	if allocations != 0 {
		t.Errorf("%v allocations", allocations)
	}
}
