package check

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// Tenure is that a process of a node has begun to serve an epoch of a partition.
type Tenure struct {
	Node      string
	Run       int
	Partition uint32
	Epoch     uint64
}

// ReadTenures reads what the log of a node tells of the epochs that it has
// served. The log may be that of several processes, one after the other.
func ReadTenures(node string, log io.Reader) ([]Tenure, error) {
	var all []Tenure
	run := 0
	scanner := bufio.NewScanner(log)
	scanner.Buffer(make([]byte, 0, 1<<16), 1<<24)
	for scanner.Scan() {
		line := scanner.Text()
		switch {
		case strings.Contains(line, ` msg="node is listening" `):
			run++
		case strings.Contains(line, " msg=serving "):
			partition, errP := strconv.ParseUint(attribute(line, "partition"), 10, 32)
			epoch, errE := strconv.ParseUint(attribute(line, "epoch"), 10, 64)
			if errP != nil || errE != nil {
				return nil, fmt.Errorf("log of %s: %q names no partition and epoch", node, line)
			}
			all = append(all, Tenure{node, run, uint32(partition), epoch})
		}
	}
	return all, scanner.Err()
}

// ReadTenuresFile is ReadTenures of a file.
func ReadTenuresFile(node, path string) ([]Tenure, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return ReadTenures(node, f)
}

// attribute returns an unquoted attribute of a line of a log.
func attribute(line, name string) string {
	_, after, _ := strings.Cut(line, " "+name+"=")
	value, _, _ := strings.Cut(after, " ")
	return value
}

// Epochs makes sure that each epoch of a partition was served by one process.
func Epochs(tenures []Tenure) []Finding {
	type epoch struct {
		partition uint32
		epoch     uint64
	}
	var found []Finding
	first := map[epoch]Tenure{}
	for _, t := range tenures {
		at := epoch{t.Partition, t.Epoch}
		by, served := first[at]
		if !served {
			first[at] = t
		} else if by != t {
			found = append(found, Finding{Kind: TwoPrimaries, Unit: fmt.Sprintf("partition-%d", t.Partition),
				Detail: fmt.Sprintf("epoch %d was served by %s in run %d and by %s in run %d", t.Epoch, by.Node, by.Run, t.Node, t.Run)})
		}
	}
	return found
}
