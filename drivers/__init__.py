"""Sensors: one file per chip or interface, and the models that stand in for them."""
