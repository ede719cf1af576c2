"""The memory model against what its constants promise: latencies by footprint, bandwidths, misses in flight, counters."""

from __future__ import annotations

import ctypes as c
import heapq
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest

from sparse_mla.gfx950.timing import Device, device
from sparse_mla.gfx950.timing.memory import memory_counters
from sparse_mla.gfx950.timing.native import STRUCTS, constants, library

LINE, CUS = 128, 256
LOAD, STORE, ATOMIC, TO_LDS, SCALAR = range(5)  # kinds, as in engine/timing.h
SC0, SC1, NT = 8, 16, 32
COLD = device("mi355x").changed(warm=0, tlb_miss=0)
WARM = COLD.changed(warm=1)


class MemoryModel:
    """A chip's memory, at a kernel's start. Accesses come in the order of their times."""

    def __init__(self, device: Device) -> None:
        self._library, self._constants = library(), constants(device)
        self._state = np.zeros(self._library.memory_bytes(c.byref(self._constants)), np.uint8)
        self._library.memory_start(self._state.ctypes.data, c.byref(self._constants))
        self._access = self._library.memory_access
        self._access.restype = STRUCTS["MemoryTime"]
        self._access.argtypes = (c.c_void_p, c.c_uint32, c.c_uint64, *(c.c_uint32,) * 3, c.c_void_p, c.c_uint32)
        self.launch()

    def launch(self) -> None:
        """Another kernel begins."""
        self._library.memory_launch(c.c_void_p(self._state.ctypes.data))

    def access(self, cu: int, clock: int, kind: int, dwords: int, lanes: int, lines: Sequence[int] | np.ndarray) -> Any:
        """One instruction of one wave: `dwords` a lane, distinct `lines`. Gives engine/timing.h's MemoryTime."""
        numbers = np.asarray(lines, np.uint32)
        return self._access(self._state.ctypes.data, cu, clock, kind, dwords, lanes, numbers.ctypes.data, len(numbers))

    def counters(self, end: int) -> dict[str, int]:
        """As `memory_counters`."""
        return memory_counters(self._library, self._state.ctypes.data, end)


def permutation(n: int) -> list[int]:
    """Lines 0 to n - 1, in an order in which none is a neighbour of the last."""
    return [int(x) for x in np.random.default_rng(7).permutation(n)]


def chase(memory: MemoryModel, lines: Iterable[int], start: int = 0, kind: int = LOAD, dwords: int = 1) -> tuple[float, int, int]:
    """Mean cycles of loads of which each waits for the last, the furthest level that the last one touched, and the end."""
    now, n = start, 0
    for line in lines:
        done = memory.access(0, now, kind, dwords, 1, [line])
        assert done.queued <= 1
        now, n, level = done.done, n + 1, done.level
    return (now - start) / n, level, now


WIDE = COLD.value("l1_hit_wide") - COLD.value("l1_hit")  # what a lone dword saves
FOOTPRINTS = {  # KiB, passes over it, level, its constant
    "L1": (32, 2, 1, "l1_hit"),
    "L2": (4 << 10, 2, 2, "l2_hit"),
    "MALL": (64 << 10, 2, 3, "mall_hit"),
    "HBM": (64 << 10, 1, 4, "hbm_hit"),
}


@pytest.mark.parametrize("name", FOOTPRINTS)
def test_pointer_chase_lands_on_the_level_of_its_footprint(name: str) -> None:
    kib, passes, level, constant = FOOTPRINTS[name]
    memory, now = MemoryModel(COLD), 0
    for _ in range(passes):
        mean, reached, now = chase(memory, permutation(kib * 1024 // LINE), now)
    assert reached == level
    assert mean == pytest.approx(COLD.value(constant) - (WIDE if level > 1 else 0), rel=0.02)


def test_a_line_that_was_there_before_the_kernel() -> None:
    lines = permutation(4096)
    assert chase(MemoryModel(WARM), lines)[1] == 3
    assert chase(MemoryModel(COLD.changed(warm=2)), lines)[1] == 2
    assert chase(MemoryModel(COLD), lines)[1] == 4


def test_wide_loads_and_loads_to_lds() -> None:
    for dwords in (2, 4):
        memory = MemoryModel(COLD.changed(warm=2))
        first = memory.access(0, 0, LOAD, dwords, 64, range(dwords * 2))
        assert first.done == pytest.approx(COLD.value("l2_hit"), rel=0.07)  # the lines of one load queue for the CU's own port
        again = memory.access(0, 1000, LOAD, dwords, 64, range(dwords * 2))
        assert again.done - 1000 == COLD.value("l1_hit_wide")
    memory = MemoryModel(COLD.changed(warm=2))
    straight = memory.access(0, 0, TO_LDS, 4, 64, range(8)).done
    assert straight - memory.access(1, 0, LOAD, 4, 64, range(8, 16)).done == COLD.value("to_lds")


def test_translation_is_paid_once_a_page_by_an_xcd() -> None:
    slow = COLD.changed(tlb_miss=700)
    memory, lone = MemoryModel(slow), COLD.value("hbm_hit") - WIDE
    page = int(slow.value("tlb_page")) // LINE
    accesses = ((0, 0, 0), (1, 10, 5), (2, 5000, 7), (0, 9000, page), (32, 20_000, page + 9))  # the last of another XCD
    ends = [memory.access(cu, now, LOAD, 1, 1, [line]).done for cu, now, line in accesses]
    wanted = [lone + 700, lone + 700, 5000 + lone, 9000 + lone + 700, 20_000 + lone + 700]
    assert ends == pytest.approx(wanted, abs=2), "who comes meanwhile waits too"
    assert memory.counters(30_000)["translation_misses"] == 3


def stream(of: Device, cus: Sequence[int], each: int, *, lines: int = 8, dwords: int = 4, lanes: int = 64, passes: int = 1,
           copy: bool = False) -> tuple[float, float, MemoryModel]:  # fmt: skip
    """Every CU issues loads as fast as its address unit takes them: bytes a clock while it lasts, median latency."""
    memory = MemoryModel(of)
    heap = [(0, cu, 0) for cu in range(len(cus))]
    last, now, latencies, first = 0, 0, [], 0  # first: when the first data are there; of several passes, those of the second half
    per_pass = each // passes
    skipped = passes // 2 * per_pass
    while heap:
        now, place, i = heapq.heappop(heap)
        base = (place * per_pass + i % per_pass) * lines
        done = memory.access(cus[place], now, LOAD, dwords, lanes, range(base, base + lines))
        if i == skipped:
            first = first or done.done
        latencies.append(done.done - done.accept)
        last = max(last, done.done)
        accept = done.accept
        if copy:
            accept = memory.access(
                cus[place], now, STORE, dwords, lanes, range((1 << 24) + base, (1 << 24) + base + lines)
            ).accept
        if i + 1 < each:
            heapq.heappush(heap, (max(accept + 1, now + 4), place, i + 1))
    return len(cus) * (each - skipped) * lines * LINE / (last - first), float(np.median(latencies)), memory


def test_streaming_through_all_cus_reaches_the_bandwidth_of_hbm_and_of_the_mall() -> None:
    for of, name in ((COLD, "hbm_bandwidth"), (WARM, "mall_bandwidth")):
        rate, latency, memory = stream(of, range(CUS), 600)
        wanted = of.value(name) / of.value("clock")
        assert rate == pytest.approx(wanted, rel=0.02), name
        # As many lines as may be in flight, by Little's law: at HBM's rate 1.0 to 1.25 us, as recorded for kernels that stream.
        assert latency == pytest.approx(CUS * of.value("l1_misses") * LINE / wanted, rel=0.1)
        if name == "hbm_bandwidth":
            assert 1.0e-6 <= latency / of.value("clock") <= 1.25e-6
        counted = memory.counters(10**7)
        bytes_of = {x: counted[f"{x}_read_bytes"] for x in ("hbm", "mall")}
        moved = CUS * 600 * 8 * LINE
        assert bytes_of == ({"hbm": moved, "mall": 0} if of is COLD else {"hbm": 0, "mall": moved})


def test_streaming_of_one_cu_is_bound_by_its_misses_then_by_its_port() -> None:
    rate, _, _ = stream(COLD, [0], 3000)
    assert rate == pytest.approx(COLD.value("l1_misses") * LINE / (COLD.value("hbm_hit") - COLD.value("l1_hit_wide")), rel=0.02)
    rate, _, _ = stream(COLD.changed(warm=2), [0], 3000)
    assert rate == pytest.approx(COLD.value("fill_bytes"), rel=0.02)
    rate, _, _ = stream(COLD, [0], 32 * 20, passes=20)  # 32 KiB, from the second time out of L1
    assert rate == pytest.approx(COLD.value("address_bytes"), rel=0.02)


def test_an_xcd_of_cus_that_read_the_same_lines_is_bound_by_l2() -> None:
    """All 32 CUs read lines of one channel: 128 bytes a clock."""
    memory, last = MemoryModel(COLD.changed(warm=2)), 0
    same = [line for line in range(1 << 15) if (line ^ line >> 4 ^ line >> 8 ^ line >> 12) % 16 == 3][:1024]
    heap = [(0, cu, 0) for cu in range(32)]
    while heap:
        now, cu, i = heapq.heappop(heap)
        done = memory.access(cu, now, LOAD, 1, 64, same[2 * i : 2 * i + 2])
        last = max(last, done.done)
        if i < 511:
            heapq.heappush(heap, (done.accept + 4, cu, i + 1))
    assert 32 * 1024 * LINE / last == pytest.approx(128, rel=0.02)


def test_scattered_accesses_take_a_clock_a_line() -> None:
    memory = MemoryModel(COLD)
    accepted = [memory.access(0, 0, STORE, 2, 64, range(64 * i, 64 * i + 64)).accept for i in range(4)]
    assert accepted == [0, 64, 128, 192]
    memory = MemoryModel(COLD)
    for dwords, cycles in ((1, 4), (2, 8), (4, 16)):
        accepted = [memory.access(3, 0, LOAD, dwords, 64, range(2 * dwords)).accept for _ in range(3)]
        assert accepted[2] - accepted[1] == cycles


def test_stores_and_atomics() -> None:
    memory, beyond = MemoryModel(WARM), WARM.value("mall_hit") - WARM.value("l2_hit")
    assert memory.access(0, 0, STORE, 1, 64, [0, 1]).done == pytest.approx(WARM.value("store_done"), abs=2)
    assert memory.access(0, 1000, ATOMIC | SC0, 1, 1, [2]).done == pytest.approx(1660 + beyond, abs=1)
    assert memory.access(0, 3000, ATOMIC | SC0, 1, 1, [2]).done == 3000 + WARM.value("atomic_done")
    counted = memory.counters(5000)
    assert counted["TCP_TCC_WRITE_REQ_sum"] == 4, "requests of 64 bytes"
    assert counted["TCP_TCC_ATOMIC_WITH_RET_REQ_sum"] == 2
    assert counted["TCC_EA0_WRREQ_sum"] == 5, "two whole lines and the half that the atomics touched"


def test_cache_bits() -> None:
    """sc1 passes L1 and L2, nt leaves nothing in L1."""
    memory = MemoryModel(COLD)
    steps = ((0, 0), (0, 0), (SC1, 0), (NT, 0), (NT, 9), (NT, 9), (0, 9), (0, 9))
    levels = [memory.access(0, 5000 * i, LOAD | bits, 1, 64, [line]).level for i, (bits, line) in enumerate(steps)]
    assert levels == [4, 1, 3, 1, 4, 2, 2, 1]


def test_scalar_loads() -> None:
    memory = MemoryModel(COLD.changed(warm=2))
    assert memory.access(0, 0, SCALAR, 2, 1, [0]).done == COLD.value("smem_l2")
    assert memory.access(1, 500, SCALAR, 2, 1, [0]).done == 500 + COLD.value("smem_hit"), "two CUs share a cache"
    assert memory.access(2, 1000, SCALAR, 2, 1, [0]).done == 1000 + COLD.value("smem_l2")
    memory.launch()
    assert memory.access(0, 2000, SCALAR, 2, 1, [0]).done == 2000 + COLD.value("smem_l2"), "each kernel starts with an empty one"


def test_counters_of_a_copy_are_exact() -> None:
    each, cus = 16, 64
    _, _, memory = stream(COLD, range(cus), each, copy=True)
    lines = each * cus * 8
    counted = memory.counters(10**6)
    assert counted["TCP_TOTAL_CACHE_ACCESSES_sum"] == 2 * lines
    assert counted["TCP_TCC_READ_REQ_sum"] == lines
    assert counted["TCP_TCC_WRITE_REQ_sum"] == 2 * lines
    assert counted["TCC_REQ_sum"] == 3 * lines
    assert counted["TCC_MISS_sum"] == lines
    assert counted["TCC_EA0_RDREQ_sum"] == counted["TCC_EA0_RDREQ_128B_sum"] == lines
    assert counted["TCC_EA0_WRREQ_64B_sum"] == 2 * lines
    assert counted["hbm_read_bytes"] == counted["mall_write_bytes"] == lines * LINE
    assert not any(memory.counters(10**6).values()), "they start again"


def test_lines_that_one_cu_or_one_xcd_already_asked_for_are_fetched_once() -> None:
    memory = MemoryModel(COLD)
    alone = memory.access(0, 0, LOAD, 1, 64, [0, 1]).done
    assert memory.access(0, 8, LOAD, 1, 64, [0, 1]).done == pytest.approx(alone, abs=2)
    assert memory.access(5, 12, LOAD, 1, 64, [0, 1]).done == pytest.approx(alone, abs=8)
    counted = memory.counters(10**4)
    assert counted["TCC_EA0_RDREQ_sum"] == 2
    assert (counted["TCC_MISS_sum"], counted["TCC_HIT_sum"]) == (2, 2)


@pytest.mark.parametrize("name", ["hbm_bandwidth", "mall_bandwidth", "fill_bytes", "fabric_bytes", "l1_misses"])
def test_more_of_anything_never_slows_a_stream(name: str) -> None:
    was = COLD.value(name)
    less = stream(COLD.changed(**{name: was // 2}), range(64), 60)[0]
    assert less <= stream(COLD, range(64), 60)[0] * 1.0001
