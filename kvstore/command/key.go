package command

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// The keys of log and storage begin with a byte that keeps what clients wrote
// apart from what is remembered of their requests.
const (
	userSpace       = 0
	rememberedSpace = 1
)

// UserKey is how a client's key is called in log and storage.
func UserKey(key []byte) []byte { return AppendUserKey(make([]byte, 0, 1+len(key)), key) }

// AppendUserKey appends it to dst.
func AppendUserKey(dst, key []byte) []byte { return append(append(dst, userSpace), key...) }

// ClientKey returns the client's key, and false if the key is none.
func ClientKey(key []byte) ([]byte, bool) {
	if len(key) < 2 || key[0] != userSpace {
		return nil, false
	}
	return key[1:], true
}

func rememberedKey(id api.RequestID) []byte {
	key := append([]byte{rememberedSpace}, id.Client...)
	return binary.BigEndian.AppendUint64(key, id.Seq)
}

// memory is what is remembered of an outcome.
type memory struct {
	Results []api.Result `json:"results,omitempty"`
	Written []int        `json:"written,omitempty"`
	Refused *api.Error   `json:"refused,omitempty"`
}

func (o *Outcome) memory() []byte {
	b, err := json.Marshal(memory{o.Results, o.written, o.Refused})
	if err != nil {
		panic(fmt.Sprintf("command: results cannot be encoded: %v", err)) // they are plain data
	}
	return b
}

// recall returns the outcome that an item remembers. Its version is that of the
// entry that executed the batch.
func recall(item Item) (Outcome, error) {
	var m memory
	if err := json.Unmarshal(item.Data, &m); err != nil {
		return Outcome{}, fmt.Errorf("recall the answer to an earlier request: %w", err)
	}
	for _, i := range m.Written {
		if i < 0 || i >= len(m.Results) {
			return Outcome{}, fmt.Errorf("recall the answer to an earlier request: it has no result %d", i)
		}
	}
	o := Outcome{Results: m.Results, Refused: m.Refused, written: m.Written}
	o.Written(item.Version)
	o.written = nil
	return o, nil
}

// Keys are those whose state [Evaluate] may look at.
func Keys(b api.Batch) [][]byte {
	var keys [][]byte
	if b.ID != nil && !onlyReads(b.Commands) {
		keys = append(keys, rememberedKey(*b.ID))
	}
	for i := range b.Commands {
		if c := &b.Commands[i]; !blind(c) {
			keys = append(keys, UserKey(c.Key))
		}
	}
	return keys
}
