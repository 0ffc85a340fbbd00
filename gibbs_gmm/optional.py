"""Packages that are not always installed."""

from __future__ import annotations

import importlib
from typing import Any


def needs(module: str, extra: str, what: str) -> Any:
    """An optional module, or an ImportError that says what needs it and how to install it.

    Parameters
    ----------
    module : str
        Its name, as it is imported.
    extra : str
        The extra of this package that brings it.
    what : str
        What asks for it, in the middle of a sentence.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{what} needs the package {module.split('.')[0]!r}; install it with: pip install 'gibbs-gmm[{extra}]'"
        ) from error
