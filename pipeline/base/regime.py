"""The regime of a recording: program, speed bin and load bin."""

from __future__ import annotations

UNKNOWN = "?"
ANY = "*"


def regime_of(
    program: str | None, shaft_speed_rpm: float | None, load: float | None, *, speed_bin_rpm: float, load_bin: float
) -> str:
    """Return the name of a regime, such as `pick|1500|0.5`: program, centre of the speed bin (rpm), of the load bin.

    A part that is not known is `?`. The centres of the bins are the multiples of their width.
    """
    speed_text = UNKNOWN if shaft_speed_rpm is None else f"{round(shaft_speed_rpm / speed_bin_rpm) * speed_bin_rpm:g}"
    load_text = UNKNOWN if load is None else f"{round(load / load_bin) * load_bin:g}"
    return f"{(program or UNKNOWN).replace('|', '/')}|{speed_text}|{load_text}"


def coarser(regime: str) -> tuple[str, ...]:
    """Return a regime and its fallbacks, finest first: any load, then any speed, then any program (`*` is any)."""
    program, speed, _ = regime.rsplit("|", 2)
    ladder = (regime, f"{program}|{speed}|{ANY}", f"{program}|{ANY}|{ANY}", f"{ANY}|{ANY}|{ANY}")
    return tuple(dict.fromkeys(ladder))


def is_any(regime: str) -> bool:
    """Whether a regime is the coarsest one, which every recording falls into."""
    return regime == f"{ANY}|{ANY}|{ANY}"


def program_of(regime: str) -> str | None:
    """Return the program of a regime, None where it is not known."""
    program = regime.split("|", 1)[0]
    return None if program == UNKNOWN else program
