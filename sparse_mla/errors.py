"""The exceptions of the package. Every message says what was given, what is allowed, and what to do."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass


class SparseMlaError(Exception):
    """Base of every error this package raises on purpose."""


class InputError(SparseMlaError, ValueError):
    """The caller gave something outside what is supported."""


class RecordingError(InputError):
    """A recording, or a file of one, is missing, damaged or not what it should be; names the file or table, and row or column."""


class ToolchainError(SparseMlaError):
    """A compiler or linker is missing or unusable; the message says what to install."""


class CompileError(SparseMlaError):
    """The compiler rejected a source; carries its own message and the source line."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the source line is in the message, so a Python traceback would only hide it."""
        return str(self).splitlines()


class AssemblyError(SparseMlaError):
    """Assembly text has an instruction, modifier or operand that the emulator does not know; names it and its line."""


class BackendError(SparseMlaError):
    """The place asked to run on (a GPU, say) is not available here."""


@dataclass(eq=False)
class HipError(SparseMlaError):
    """A call of HIP's API failed: which one, its code with HIP's name and words for it, and of what kernel. The cause, where the
    emulated runtime knows one, is the emulator's own error."""

    call: str
    code: int
    name: str
    text: str
    kernel: str | None = None

    def __str__(self) -> str:
        of = f" ({self.kernel})" if self.kernel else ""
        why = f"\n{self.__cause__}" if self.__cause__ else ""
        return f"{self.call}{of}: {self.name}, {self.code}: {self.text}{why}"


@dataclass(eq=False)
class KernelFault(SparseMlaError):
    """An executing kernel did something illegal; the fields say what, where in the source, and by which lane."""

    reason: str
    _: KW_ONLY
    kernel: str
    source_line: str | None = None
    instruction: str | None = None
    workgroup: tuple[int, int, int] | None = None
    wave: int | None = None
    lane: int | None = None
    address: int | None = None

    def __str__(self) -> str:
        known = {"source": self.source_line, "instruction": self.instruction, "workgroup": self.workgroup, "wave": self.wave}
        known |= {"lane": self.lane, "address": None if self.address is None else f"{self.address:#x}"}
        where = [f"  {name:11} {value}" for name, value in known.items() if value is not None]
        return "\n".join([f"{self.kernel}: {self.reason}", *where])
