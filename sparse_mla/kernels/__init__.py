"""Decode problems (`case`), what they should give (`reference`, `compare`), and the kernels that solve them (`catalogue`,
`params`, `split_k`)."""
