"""Packages beyond the core: imported where they are used, with a clear word where they are missing."""

from importlib import import_module


class MissingExtra(ImportError):
    """A package of one of the extras is not installed; the message is the command that installs it."""


def require(module: str, extra: str):
    """Import a module of an extra and return it.

    Arguments:
        module: name as in an import statement.
        extra: the extra of pyproject.toml that brings it.
    Raises:
        MissingExtra: the module is not installed; an error inside an installed module passes through.
    Example:
        >>> require("json", extra="download").dumps({"n": 1})
        '{"n": 1}'
        >>> require("no_such_module", extra="simulation")
        Traceback (most recent call last):
        lhcml_tutor.extras.MissingExtra: no_such_module is not installed; run: pip install "lhcml-tutor[simulation]"
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as problem:
        if problem.name != module.split(".")[0]:
            raise
        raise MissingExtra(f'{module} is not installed; run: pip install "lhcml-tutor[{extra}]"') from None
