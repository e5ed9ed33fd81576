"""From recordings to features, and to what each unit's features were in its first days."""
