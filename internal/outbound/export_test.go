package outbound

import "time"

// SetTokenTimeout sets how long an authority has to give a token.
func SetTokenTimeout(c *Client, d time.Duration) { c.tokenTimeout = d }
