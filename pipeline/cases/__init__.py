"""From axis states to closed cases: what is flagged, the queue, and what engineers do with cases."""

__all__ = [
    "audit",
    "axis_state",
    "effects",
    "episodes",
    "evidence",
    "keeping",
    "ordering",
    "queue",
    "quiet",
    "remembering",
    "replacement",
    "shift",
    "similar",
    "verdicts",
    "work",
]
