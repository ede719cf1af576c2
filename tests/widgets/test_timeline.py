"""The timeline's Python half: what travels to the browser is the frame, what comes back is a row of it."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import traitlets

from sparse_mla.errors import InputError
from sparse_mla.plot.style import CAUSE_LOOK
from sparse_mla.widgets import timeline as module
from sparse_mla.widgets.timeline import pack, timeline

ABOUT = {"title": "Waves of base", "kind": "modelled", "source": "timing model, mi355x"}


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_last", {})


def frame(records: int = 300, seed: int = 0) -> pd.DataFrame:
    """Records of 7 waves in no order; a static instruction is its pc."""
    rng = np.random.default_rng(seed)
    wave, line = rng.integers(0, 7, records), rng.integers(0, 20, records)
    stall = rng.integers(0, 50, records)
    made = {"wave": wave, "cu": wave % 2, "simd": wave // 2 % 2, "slot": wave // 4}
    made |= {"begin": 10**11 + 100 * rng.permutation(records), "duration": stall + 4, "stall": stall, "pc": 4 * line}
    words = {"text": [f"v_add_u32 v{n}, v0, v1" for n in line], "source": [f"a.hip:{n}  x = y;" if n % 3 else "" for n in line]}
    return pd.DataFrame(made | words | {"cause": rng.choice([*CAUSE_LOOK], records)})


def unpacked(columns: dict[str, bytes]) -> dict[str, np.ndarray[Any, Any]]:
    return {name: np.frombuffer(raw, "<u1" if name == "cause" else "<u4") for name, raw in columns.items()}


def test_the_columns_hold_every_record_of_the_frame_in_order() -> None:
    given = frame()
    columns, rows, lines, origin = pack(given)
    sent = unpacked(columns)
    assert sorted(sent["place"]) == list(range(len(given)))
    causes = [*CAUSE_LOOK]
    names = {f"CU {r.cu} SIMD {r.simd} slot {r.slot} wave {r.wave}" for r in given.itertuples()}
    assert {" ".join(row) for row in rows} == names
    assert len(rows) == 7
    assert list(sent["starts"][[0, -1]]) == [0, len(given)]
    for row, (start, stop) in enumerate(zip(sent["starts"], sent["starts"][1:], strict=False)):
        assert (np.diff(sent["begin"][start:stop].astype(int)) > 0).all()
        for i in range(start, stop):
            want = given.iloc[sent["place"][i]]
            assert " ".join(rows[row]) == f"CU {want.cu} SIMD {want.simd} slot {want.slot} wave {want.wave}"
            assert origin + int(sent["begin"][i]) == want.begin
            assert (sent["duration"][i], sent["stall"][i]) == (want.duration, want.stall)
            assert causes[sent["cause"][i]] == want.cause
            line = sent["line"][i]
            assert [lines[name][line] for name in ("pc", "text", "source")] == [f"{want.pc:#x}", want.text, want.source]
    assert len(lines["pc"]) == given.pc.nunique()


def test_an_instruction_without_text_is_one_still() -> None:
    given = frame()
    columns, _, lines, _ = pack(given.assign(text=given.text.where(given.pc != 8), source=given.source.where(given.pc != 8)))
    sent = unpacked(columns)
    (at,) = (n for n, pc in enumerate(lines["pc"]) if pc == "0x8")
    assert (lines["text"][at], lines["source"][at]) == ("", "")
    assert set(sent["place"][sent["line"] == at]) == set(np.flatnonzero(given.pc == 8))


def test_rows_stand_by_compute_unit_and_simd() -> None:
    _, rows, _, _ = pack(frame().assign(se=1))
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    assert rows[0] == ["SE 1 CU 0 SIMD 0", "slot 0 wave 0"]
    assert rows[1] == ["SE 1 CU 0 SIMD 0", "slot 1 wave 4"]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda f: f.drop(columns=["stall", "pc"]), "it lacks stall, pc"),
        (lambda f: f.iloc[:0], "no record"),
        (lambda f: f.assign(cause="traffic"), "cause traffic is not known; a cause is one of issue, arbitration"),
        (lambda f: f.assign(stall=f.duration.where(f.index != 3, f.duration + 1)), "record 3: a stall of"),
        (lambda f: f.assign(stall=-1), "record 0: a stall of -1"),
        (lambda f: f.assign(begin=f.begin.where(f.index != 3, 0)), "fewer than 4294967296; cut the frame"),
        (lambda f: f.assign(simd=np.nan), "column simd holds float64; it may hold integers only"),
    ],
)
@pytest.mark.parametrize("static", [True, False])
def test_a_frame_that_cannot_be_is_refused_in_both_modes(change: Any, message: str, static: bool) -> None:
    with pytest.raises(InputError, match=message):
        timeline(change(frame()), **ABOUT, static=static)


@pytest.mark.parametrize("static", [True, False])
def test_an_unknown_kind_is_refused_in_both_modes(static: bool) -> None:
    with pytest.raises(InputError, match="kind 'guessed' is not known"):
        timeline(frame(), **ABOUT | {"kind": "guessed"}, static=static)


def test_what_is_chosen_in_the_browser_is_a_row_of_the_frame() -> None:
    given = frame()
    given.index = given.index + 1000  # positions, not labels
    widget = timeline(given, **ABOUT, static=False)
    assert (widget.selected, widget.record) == (None, None)
    widget.selected = 17
    assert widget.record.equals(given.iloc[17])
    with pytest.raises((InputError, traitlets.TraitError), match="records 0 to 299"):
        widget.selected = 300


def test_running_the_cell_again_keeps_view_and_choice() -> None:
    view = {"begin": 10, "end": 90, "top": 20, "search": "v_add", "cause": "lds"}
    widget = timeline(frame(), **ABOUT, static=False)
    widget.view, widget.selected = view, 250
    again = timeline(frame(seed=1), **ABOUT, static=False)
    assert (again.view, again.selected) == (view, 250)
    shorter = timeline(frame(100), **ABOUT, static=False)
    assert (shorter.view, shorter.selected) == (view, None)
    other = timeline(frame(), **ABOUT | {"title": "Waves of tiled"}, static=False)
    assert (other.view, other.selected) == ({}, None)


def test_a_guess_of_causes_is_told() -> None:
    assert timeline(frame(), **ABOUT, static=False).about["note"] == ""
    assert "inferred" in timeline(frame().assign(inferred=True), **ABOUT, static=False).about["note"]


def test_the_widget_says_its_kind_and_carries_local_files() -> None:
    widget = timeline(frame(), **ABOUT, static=False)
    assert (widget.about["kind"], widget.about["source"]) == ("modelled", "timing model, mi355x")
    assert [cause for cause, _ in widget.about["causes"]] == [*CAUSE_LOOK]
    assert "http" not in str(widget._esm) + str(widget._css)


def test_the_twin_is_a_figure_of_the_same_frame() -> None:
    figure = timeline(frame(), **ABOUT, static=True)
    assert (figure.kind, figure.source) == ("modelled", "timing model, mi355x")
    assert "7 waves" in figure.alt
