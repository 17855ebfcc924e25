package wallclock

import (
	"fmt"
	"os"
	"testing"
	"time"
)

const asked = "TELL_TIME"

// The test binary is its own victim: asked to, it tells the time of day and how
// long it runs for each byte that it reads.
func TestMain(m *testing.M) {
	if os.Getenv(asked) == "" {
		os.Exit(m.Run())
	}
	start := time.Now()
	for b := make([]byte, 1); ; {
		if _, err := os.Stdin.Read(b); err != nil {
			os.Exit(0)
		}
		fmt.Println(time.Now().Unix(), int64(time.Since(start)/time.Second))
	}
}
