package check

import (
	"bufio"
	"io"
	"os"
	"strings"
)

// Crashes returns where the log of a node tells that its process has given up:
// because of what it found, such as a disk that fails, or of a fault of its own.
func Crashes(node string, log io.Reader) ([]Finding, error) {
	var found []Finding
	scanner := bufio.NewScanner(log)
	scanner.Buffer(make([]byte, 0, 1<<16), 1<<24)
	for scanner.Scan() {
		line := scanner.Text()
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") || strings.Contains(line, ` msg="the node stops: `) {
			found = append(found, Finding{Kind: Crashed, Unit: node, Detail: line})
		}
	}
	return found, scanner.Err()
}

// CrashesFile is Crashes of a file.
func CrashesFile(node, path string) ([]Finding, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return Crashes(node, f)
}
