"""Widgets when somebody is there, figures and text when nobody is.

A notebook executed by papermill keeps only what widgets leave behind: an empty view that no reader can use. So every
interactive cell goes through `control`, which shows sliders in a live session and the same content once, with the
default settings named, everywhere else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import display

from sparse_mla.errors import InputError, SparseMlaError

VARIABLE = "SPARSE_MLA_HEADLESS"
MANY = 16  # choices; of more, a page names the first two and the last


def headless(override: bool | None = None) -> bool:
    """True where no one can move a slider. First the argument, then SPARSE_MLA_HEADLESS (0 or 1), then the session.

    A live front end tells its kernel that it can ask for input; papermill and nbclient tell it that they cannot. The
    flag is private to ipykernel, so where it is missing the answer is headless, the mode that always shows something.
    """
    if override is not None:
        return override
    if (said := os.environ.get(VARIABLE)) is not None:
        if said not in ("0", "1"):
            raise InputError(f"{VARIABLE}={said!r}; it may be 0 (widgets) or 1 (static figures)")
        return said == "1"
    kernel = getattr(get_ipython(), "kernel", None)
    return getattr(kernel, "_allow_stdin", None) is not True


# How each control was left (known by what it asked for), so that running the cell again does not lose it.
_last: dict[tuple[Any, ...], dict[str, Any]] = {}


def control(show: Callable[..., Any], override: bool | None = None, /, **settings: tuple[Any, Sequence[Any] | None]) -> None:
    """Display `show(**values)` and, in a live session, one labelled control for each setting: a slider (of numbers), a menu (of
    words), or a line to type into.

    A setting is `name=(default, choices)`, or `name=(words, None)` for a line. What `show` refuses with an error of this package
    is shown as its message. Running the cell again keeps what was chosen. What was shown before comes back without a call.
    """
    for name, (default, choices) in settings.items():
        if choices is not None and default not in choices:
            raise InputError(f"control {name}: the default {default!r} is not among its choices {list(choices)}")
    defaults = {name: default for name, (default, _) in settings.items()}
    if headless(override):
        for name, (default, choices) in settings.items():
            some = ["any"] if choices is None else choices if len(choices) <= MANY else [*choices[:2], "...", choices[-1]]
            print(f"{name} = {default}   (live: {', '.join(map(str, some))})")
        display(show(**defaults))  # type: ignore[no-untyped-call]
        return
    import ipywidgets as widgets  # a live session only: papermill runs need no widget library

    from sparse_mla.widgets.slider import Slider

    key = getattr(show, "__module__", ""), getattr(show, "__qualname__", ""), repr(settings)
    made: dict[str, Any] = {}
    known = lru_cache(maxsize=32)(show)
    for name, (default, choices) in settings.items():
        left = _last.get(key, defaults)[name]
        look = {"description": name.replace("_", " "), "style": {"description_width": "9em"}, "value": left}
        if choices is None:
            made[name] = widgets.Text(continuous_update=False, **look)
        elif isinstance(default, str):
            made[name] = widgets.Dropdown(options=choices, **look)
        else:
            made[name] = Slider(look["description"], choices, left)

    def update(**values: Any) -> None:
        _last[key] = values
        try:
            display(known(**values))  # type: ignore[no-untyped-call]
        except SparseMlaError as problem:
            print(problem)

    output = widgets.interactive_output(update, made)
    output.layout.min_height = "12em"  # or the page jumps while a picture is drawn
    display(widgets.VBox([*made.values(), output]))  # type: ignore[no-untyped-call]
