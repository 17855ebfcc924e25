package kvstore

import "sync"

// changes lets any number of goroutines wait until something has changed.
type changes struct {
	mu sync.Mutex
	ch chan struct{}
}

// next returns a channel that the next announce closes. Whoever waits asks
// for it before looking at what may change.
func (c *changes) next() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ch == nil {
		c.ch = make(chan struct{})
	}
	return c.ch
}

func (c *changes) announce() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ch != nil {
		close(c.ch)
		c.ch = nil
	}
}
