"""A slider over a list of values that a screen reader can name; the front end is slider.js."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets


class Slider(anywidget.AnyWidget):
    """`value` is always one of `options`; any other raises ValueError."""

    _esm = Path(__file__).with_suffix(".js")
    about = traitlets.Dict().tag(sync=True)  # name, and options as text
    index = traitlets.Int().tag(sync=True)
    value = traitlets.Any()

    def __init__(self, name: str, options: Sequence[Any], value: Any) -> None:
        self.options = list(options)
        about = {"name": name, "options": [str(option) for option in options]}
        super().__init__(about=about, index=self.options.index(value), value=value)

    @traitlets.observe("index")
    def _moved(self, change: dict[str, Any]) -> None:
        self.value = self.options[change["new"]]

    @traitlets.observe("value")
    def _set(self, change: dict[str, Any]) -> None:
        self.index = self.options.index(change["new"])
