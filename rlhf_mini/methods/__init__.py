"""One file a method: what it trains on, what it minimises, and where it is simpler than its paper."""
