package clusterkit

import (
	"math/bits"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// Functions from key to partition, by the name that [Config.Hash] stores. A
// cluster keeps the one it was bootstrapped with for ever.
const (
	// HashXX64 multiplies the 64-bit xxHash of the key onto the range of
	// partitions.
	HashXX64 = "xxhash64"
	// HashCRC16Slots is Redis Cluster's function: CRC16 of the key, or of what
	// stands between the first "{" and the next "}" if that is not empty,
	// modulo 16384 slots; the slots are divided evenly among the partitions.
	HashCRC16Slots = "crc16-slots"
)

// MaxPartitions is the highest possible [Config.PartitionCount].
const MaxPartitions = 16384

// partitionOf returns the partition of the key among count partitions. It
// does not allocate.
func partitionOf(hash, key string, count int) int {
	if hash == HashCRC16Slots {
		return Slot(key) * count / MaxPartitions
	}
	index, _ := bits.Mul64(xxhash.Sum64String(key), uint64(count))
	return int(index)
}

// Slot returns the Redis Cluster slot of the key, 0 to 16383.
func Slot(key string) int {
	return int(crc16(hashTag(key))) % MaxPartitions
}

// hashTag returns the part of the key that decides its slot.
func hashTag(key string) string {
	open := strings.IndexByte(key, '{')
	if open < 0 {
		return key
	}
	length := strings.IndexByte(key[open+1:], '}')
	if length <= 0 {
		return key
	}
	return key[open+1 : open+1+length]
}

// crc16 is CRC-16/XMODEM: polynomial 0x1021, initial value 0.
func crc16(s string) uint16 {
	var crc uint16
	for i := range len(s) {
		crc = crc<<8 ^ crc16Table[byte(crc>>8)^s[i]]
	}
	return crc
}

var crc16Table = func() (table [256]uint16) {
	for i := range table {
		crc := uint16(i) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
		table[i] = crc
	}
	return table
}()
