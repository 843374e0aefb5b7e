"""python -m lhcml_tutor: the same as `lhcml`."""

from .cli import main

if __name__ == "__main__":
    main()
