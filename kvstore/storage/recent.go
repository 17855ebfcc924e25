package storage

import "hash/maphash"

// recent knows what the last writes have left under their keys, so that those
// that follow need not read what they replace: in Badger, finding it takes
// longer than writing. It is of a fixed size and may have forgotten any key.
// Its owner has the turn.
type recent struct {
	seeds [2]maphash.Seed
	sets  []recentSet
}

// recentSet are the items of the keys whose fingerprints agree in some bits,
// the last one written first.
type recentSet [4]recentItem

type recentItem struct {
	key  fingerprint
	item replaced
}

// fingerprint stands for a key in Badger. Two keys have the same one with a
// probability of 2^-128, which nobody who chooses keys can raise: the seeds
// are random.
type fingerprint [2]uint64

// recentSets makes a recent of 8 MiB, for a quarter of a million keys.
const recentSets = 1 << 16

func newRecent(sets int) *recent {
	return &recent{
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		sets:  make([]recentSet, sets),
	}
}

func (r *recent) fingerprint(key []byte) fingerprint {
	return fingerprint{maphash.Bytes(r.seeds[0], key), maphash.Bytes(r.seeds[1], key)}
}

func (r *recent) set(key fingerprint) *recentSet { return &r.sets[key[0]%uint64(len(r.sets))] }

// get returns what is under the key, if that is known.
func (r *recent) get(key fingerprint) (item replaced, known bool) {
	set := r.set(key)
	for i := range set {
		if set[i].key == key {
			return set[i].item, true
		}
	}
	return replaced{}, false
}

// put remembers what is under the key now.
func (r *recent) put(key fingerprint, item replaced) {
	set := r.set(key)
	at := 0
	for at < len(set)-1 && set[at].key != key {
		at++
	}
	copy(set[1:at+1], set[:at])
	set[0] = recentItem{key, item}
}

// clear forgets everything.
func (r *recent) clear() { clear(r.sets) }
