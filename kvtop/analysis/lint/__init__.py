"""Misconfigurations: the target that rules look at, the rules, and their findings."""
