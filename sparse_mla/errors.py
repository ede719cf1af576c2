"""The exceptions of the package. Every message says what was given, what is allowed, and what to do."""

from __future__ import annotations


class SparseMlaError(Exception):
    """Base of every error this package raises on purpose."""


class InputError(SparseMlaError, ValueError):
    """The caller gave something outside what is supported."""


class ToolchainError(SparseMlaError):
    """A compiler or linker is missing or unusable; the message says what to install."""


class CompileError(SparseMlaError):
    """The compiler rejected a source; carries its own message and the source line."""


class AssemblyError(SparseMlaError):
    """Assembly text has an instruction, modifier or operand that the emulator does not know; names it and its line."""


class BackendError(SparseMlaError):
    """The place asked to run on (a GPU, say) is not available here."""


class KernelFault(SparseMlaError):
    """An executing kernel did something illegal; the fields say what, where in the source, and by which lane."""

    def __init__(
        self,
        reason: str,
        *,
        kernel: str,
        source_line: str | None = None,
        instruction: str | None = None,
        workgroup: tuple[int, int, int] | None = None,
        wave: int | None = None,
        lane: int | None = None,
        address: int | None = None,
    ) -> None:
        self.reason = reason
        self.kernel = kernel
        self.source_line = source_line
        self.instruction = instruction
        self.workgroup = workgroup
        self.wave = wave
        self.lane = lane
        self.address = address
        where = {
            "source": source_line,
            "instruction": instruction,
            "workgroup": workgroup,
            "wave": wave,
            "lane": lane,
            "address": None if address is None else f"{address:#x}",
        }
        lines = [f"{kernel}: {reason}", *(f"  {name:11} {value}" for name, value in where.items() if value is not None)]
        super().__init__("\n".join(lines))
