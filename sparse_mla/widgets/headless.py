"""Widgets when somebody is there, figures and text when nobody is.

A notebook executed by papermill keeps only what widgets leave behind: an empty view that no reader can use. So every
interactive cell goes through `control`, which shows sliders in a live session and the same content once, with the
default settings named, everywhere else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
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


def control(
    show: Callable[..., Any], override: bool | None = None, /, **settings: tuple[Any, Sequence[Any] | Mapping[str, Any]]
) -> None:
    """Display `show(**values)` and, in a live session, one labelled slider or menu for each setting.

    A setting is `name=(default, choices)`; numbers become a slider, words (or a mapping of label to value) a menu.
    """
    for name, (default, choices) in settings.items():
        allowed = list(choices.values()) if isinstance(choices, Mapping) else list(choices)
        if default not in allowed:
            raise InputError(f"control {name}: the default {default!r} is not among its choices {allowed}")
    if headless(override):
        for name, (default, choices) in settings.items():
            offered = list(choices)
            few = ", ".join(map(str, offered if len(offered) <= 8 else [*offered[:3], "...", offered[-1]]))
            print(f"{name} = {default}   (live: {few})")
        display(show(**{name: default for name, (default, _) in settings.items()}))  # type: ignore[no-untyped-call]
        return
    import ipywidgets as widgets  # a live session only: papermill runs need no widget library

    made = {name: _input(widgets, name, *spec) for name, spec in settings.items()}
    output = widgets.interactive_output(lambda **values: display(show(**values)), made)  # type: ignore[no-untyped-call]
    display(widgets.VBox([*made.values(), output]))  # type: ignore[no-untyped-call]


def _input(widgets: Any, name: str, default: Any, choices: Sequence[Any] | Mapping[str, Any]) -> Any:
    """A slider over numbers, a menu over anything else; both work by keyboard and carry the setting's name."""
    options = list(choices.items()) if isinstance(choices, Mapping) else list(choices)
    numbers = not isinstance(choices, Mapping) and all(isinstance(choice, int | float) for choice in options)
    kind = widgets.SelectionSlider if numbers else widgets.Dropdown
    return kind(options=options, value=default, description=name.replace("_", " "), style={"description_width": "9em"})
