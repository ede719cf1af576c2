"""Which rows the tests run, by kind of test, from what they are parametrised by: `sparse-mla isa --coverage` prints it."""

from __future__ import annotations

from tests.gfx950 import statements, statements_formats, statements_memory
from tests.gfx950.statements_matrix import SPECS
from tests.gfx950.test_differential import STATEMENTS

_NO_EFFECT = {*statements_formats.NO_EFFECT}
TESTS: dict[str, set[str]] = {
    # A second statement of what it means, which chosen and random operands are compared with.
    "second statement": {*statements_formats.SALU, *statements_formats.VALU, *statements_formats.SIX, *SPECS}
    | {*statements.TAKEN, *statements_memory.STATED} - _NO_EFFECT,
    # A test of its own, or one that nothing changes.
    "own test": {*statements_formats.APART} | _NO_EFFECT,
    "random programs": {*STATEMENTS},
}
