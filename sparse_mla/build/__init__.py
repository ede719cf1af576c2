"""From HIP source to gfx950 code: compilers, the cache of what they made, resources."""

from sparse_mla.build.code_object import CodeObject, Resources
from sparse_mla.build.compile import compile_hip, csrc_dir
from sparse_mla.build.store import cached
from sparse_mla.build.toolchain import Toolchain, find_toolchain

__all__ = ["CodeObject", "Resources", "Toolchain", "cached", "compile_hip", "csrc_dir", "find_toolchain"]
