"""The regime of a recording: program, speed bin and load bin."""

from __future__ import annotations

UNKNOWN = "?"
ANY = "*"


def regime_of(
    program: str | None, shaft_speed_rpm: float | None, load: float | None, *, speed_bin_rpm: float, load_bin: float
) -> str:
    """Name a regime, for example `pick|1500|0.5`: program, centre of the speed bin (rpm), centre of the load bin.

    What is not known is `?`. Bins are centred on the multiples of their width.
    """
    speed = UNKNOWN if shaft_speed_rpm is None else f"{round(shaft_speed_rpm / speed_bin_rpm) * speed_bin_rpm:g}"
    loaded = UNKNOWN if load is None else f"{round(load / load_bin) * load_bin:g}"
    return f"{(program or UNKNOWN).replace('|', '/')}|{speed}|{loaded}"


def coarser(regime: str) -> tuple[str, ...]:
    """Give a regime and what it falls back to, finest first: any load, any speed, any program (`*` is any)."""
    program, speed, _ = regime.rsplit("|", 2)
    ladder = (regime, f"{program}|{speed}|{ANY}", f"{program}|{ANY}|{ANY}", f"{ANY}|{ANY}|{ANY}")
    return tuple(dict.fromkeys(ladder))


def is_any(regime: str) -> bool:
    """Whether a regime is the coarsest one, which every recording falls into."""
    return regime == f"{ANY}|{ANY}|{ANY}"


def program_of(regime: str) -> str | None:
    """Give the program of a regime, None where it is not known."""
    program = regime.split("|", 1)[0]
    return None if program == UNKNOWN else program
