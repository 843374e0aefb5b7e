"""The command `lhcml`. Importing this module, and `lhcml doctor`, need the standard library alone."""

import sys


def main(arguments=None) -> None:
    """Run the command line; what the caller can put right ends with status 2 and a line that says how.

    Example:
        >>> import contextlib, io
        >>> with contextlib.redirect_stderr(io.StringIO()) as said:
        ...     main(["run", "99z"])
        Traceback (most recent call last):
        SystemExit: 2
        >>> said.getvalue()     # doctest: +ELLIPSIS
        "lhcml: no notebook '99z'; ..."
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments[:1] == ["doctor"]:
        from . import doctor

        sys.exit(doctor.main(arguments[1:]))
    try:
        from .commands import app
    except ModuleNotFoundError as error:
        if error.name != "typer":
            raise
        _stop(
            "this needs typer; install it with `pip install typer`, or run `lhcml doctor` to see what else is missing"
        )
    from .notebooks.sources import Problem

    try:
        app(arguments, prog_name="lhcml")
    except Problem as problem:
        _stop(problem)


def _stop(reason):
    print(f"lhcml: {reason}", file=sys.stderr)
    sys.exit(2)
