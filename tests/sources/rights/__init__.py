"""Tests of the rights with which files are opened."""
