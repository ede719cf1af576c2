"""Recordings: what a profiler writes down of a run, and what the emulator and the timing model give in the same form."""
