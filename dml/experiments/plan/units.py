"""Sizes and durations in units that suit them."""

_MIB = 2**20


def mib(size: float) -> str:
    """Return bytes in MiB, or in GiB from one on.

    Example:
        >>> mib(3 * 2**20), mib(3 * 2**29)
        ('3 MiB', '1.5 GiB')
    """
    return f"{size / _MIB:.0f} MiB" if size < 1024 * _MIB else f"{size / 1024 / _MIB:.1f} GiB"


def seconds(value: float) -> str:
    """Return a duration in a unit that suits it.

    Example:
        >>> seconds(0.0123), seconds(75), seconds(9000)
        ('12.3 ms', '75 s', '2.5 h')
    """
    if value < 1:
        return f"{1000 * value:.3g} ms"
    if value < 200:
        return f"{value:.3g} s"
    return f"{value / 60:.3g} min" if value < 7200 else f"{value / 3600:.3g} h"
