package storage

import (
	"encoding/binary"
	"fmt"
)

// Keys in Badger:
//
//	partition (4) | generation (8) | key             an item
//	partition (4) | generation, top bit set | key    the rest of a long item
//	0xffffffff | 'c' | partition (4)                 a checkpoint
//	0xffffffff | 'g' | partition (4) | generation    a mark of garbage
//	0xffffffff | 'd' | partition (4)                 a mark of damage
//	0xffffffff | 'l' | partition (4)                 an unfinished load
//	0xffffffff | 'i'                                 the identity
//	0xffffffff | 'p'                                 padding, see writeOut
//
// Numbers are big-endian, so that a generation is one range of keys.
const (
	ownPartition = 1<<32 - 1
	restBit      = 1 << 63
	itemPrefix   = 4 + 8

	// maxPartition keeps clear of the keys that Badger reserves, "!badger!".
	maxPartition = 1<<24 - 1
)

// generation names the data of one incarnation of a partition.
type generation struct {
	partition uint32
	number    uint64
}

func checkPartition(partition uint32) error {
	if partition > maxPartition {
		return fmt.Errorf("storage: partition %d is out of range, the greatest is %d", partition, maxPartition)
	}
	return nil
}

func (g generation) appendPrefix(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, g.partition)
	return binary.BigEndian.AppendUint64(dst, g.number)
}

// key returns the Badger key of an item in newly allocated memory, which
// Badger keeps.
func (g generation) key(key []byte) []byte {
	return append(g.appendPrefix(make([]byte, 0, itemPrefix+len(key))), key...)
}

// rest returns the generation under which the rests of long items stand.
func (g generation) rest() generation { return generation{g.partition, g.number | restBit} }

// parseGeneration returns the generation that a Badger key belongs to, of
// items and rests alike; ok is false for the store's own keys.
func parseGeneration(key []byte) (g generation, ok bool) {
	if len(key) < itemPrefix || binary.BigEndian.Uint32(key) > maxPartition {
		return generation{}, false
	}
	return generation{binary.BigEndian.Uint32(key), binary.BigEndian.Uint64(key[4:]) &^ restBit}, true
}

func ownKey(kind byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, ownPartition), kind)
}

func identityKey() []byte { return ownKey('i') }

func garbagePrefix() []byte { return ownKey('g') }

// mark is the key whose presence says that g is garbage, or will be unless
// its load is committed.
func (g generation) mark() []byte { return g.appendPrefix(garbagePrefix()) }

func damagePrefix() []byte { return ownKey('d') }

// damageKey is the key whose value says why a partition's data are not to be
// trusted.
func damageKey(partition uint32) []byte {
	return binary.BigEndian.AppendUint32(damagePrefix(), partition)
}

func loadPrefix() []byte { return ownKey('l') }

func loadKey(partition uint32) []byte {
	return binary.BigEndian.AppendUint32(loadPrefix(), partition)
}

func checkpointPrefix() []byte { return ownKey('c') }

func checkpointKey(partition uint32) []byte {
	return binary.BigEndian.AppendUint32(checkpointPrefix(), partition)
}
