"""From the landing zone to recordings in the lake; what cannot be read goes to quarantine."""

__all__ = ["acquire", "contract", "footer", "prune", "quarantine"]
