"""Running kernels: one call, on the emulator, a device, or the reference."""

from sparse_mla.execute.result import Result, counts_frame
from sparse_mla.execute.run import run

__all__ = ["Result", "counts_frame", "run"]
