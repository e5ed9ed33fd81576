"""What other systems are sent: the outbox and its delivery, exports, messages about failed tasks."""
