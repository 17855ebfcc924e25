package kvstore

import (
	"encoding/binary"
	"fmt"

	"github.com/skshohagmiah/clusterkit/kvstore/partition"
)

// stateVersion is the format of a partition's state in the log: version,
// promise, incarnation.
const stateVersion = 1

func encodeState(s partition.State) []byte {
	b := make([]byte, 0, 17)
	b = append(b, stateVersion)
	b = binary.LittleEndian.AppendUint64(b, s.Promise)
	return binary.LittleEndian.AppendUint64(b, s.Incarnation)
}

func decodeState(b []byte) (partition.State, error) {
	if len(b) != 17 || b[0] != stateVersion {
		return partition.State{}, fmt.Errorf("state of %d bytes in an unknown format; was the log written by a newer version?", len(b))
	}
	return partition.State{
		Promise:     binary.LittleEndian.Uint64(b[1:]),
		Incarnation: binary.LittleEndian.Uint64(b[9:]),
	}, nil
}
