package cache

// Tenants is about how many tenants' sets are held.
func (c *Cache) Tenants() int {
	c.tenants.CleanUp()
	return c.tenants.EstimatedSize()
}
