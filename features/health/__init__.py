"""How a unit stands against its own first days: baseline, health index, trend, alarm."""
