"""What other systems are sent: the outbox and its delivery, exports, messages about failed tasks."""

__all__ = ["delivery", "exporting", "failures", "outbox"]
