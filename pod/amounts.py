"""Numbers that a person gives: never negative, never endless, never nan."""

import argparse
import math


def is_amount(value: float) -> bool:
    """Whether it can be waited for, paid or counted."""
    return math.isfinite(value) and value >= 0


def amount(text: str) -> float:
    """A number of a command line, from 0 on.

    Raises:
        ArgumentTypeError: when it is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not is_amount(value):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 on")
    return value


def count(text: str) -> int:
    """A whole number of a command line, from 0 on.

    Raises:
        ArgumentTypeError: when it is none.
    """
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")
    return int(text)
