"""Alembic migrations of axiswatch's database."""
