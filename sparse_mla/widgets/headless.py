"""Widgets when somebody is there, figures and text when nobody is.

A notebook executed by papermill keeps only what widgets leave behind: an empty view that no reader can use. So every
interactive cell goes through `control`, which shows sliders in a live session and the same content once, with the
default settings named, everywhere else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import display

from sparse_mla.errors import InputError

VARIABLE = "SPARSE_MLA_HEADLESS"


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


def control(show: Callable[..., Any], override: bool | None = None, /, **settings: tuple[Any, Sequence[Any]]) -> None:
    """Display `show(**values)` and, in a live session, one labelled slider (of numbers) or menu (of words) for each setting.

    A setting is `name=(default, choices)`.
    """
    for name, (default, choices) in settings.items():
        if default not in choices:
            raise InputError(f"control {name}: the default {default!r} is not among its choices {list(choices)}")
    if headless(override):
        for name, (default, choices) in settings.items():
            print(f"{name} = {default}   (live: {', '.join(map(str, choices))})")
        display(show(**{name: default for name, (default, _) in settings.items()}))  # type: ignore[no-untyped-call]
        return
    import ipywidgets as widgets  # a live session only: papermill runs need no widget library

    made = {}
    for name, (default, choices) in settings.items():
        kind = widgets.Dropdown if isinstance(default, str) else widgets.SelectionSlider  # both work by keyboard
        look = {"description": name.replace("_", " "), "style": {"description_width": "9em"}}
        made[name] = kind(options=choices, value=default, **look)
    output = widgets.interactive_output(lambda **values: display(show(**values)), made)  # type: ignore[no-untyped-call]
    display(widgets.VBox([*made.values(), output]))  # type: ignore[no-untyped-call]
