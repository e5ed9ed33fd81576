"""Data that go to other systems: the outbox and its delivery, exports, messages about failed tasks."""

__all__ = ["delivery", "exporting", "failures", "gauges", "heartbeat", "mail", "outbox"]
