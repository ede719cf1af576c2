"""Frame in, frame out: what was executed, where operands lie, what the cache's bytes hold."""
