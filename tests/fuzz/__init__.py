"""Inputs from strangers, made by the thousand: `make fuzz MINUTES=5`, and their corpus in every run of the tests."""
