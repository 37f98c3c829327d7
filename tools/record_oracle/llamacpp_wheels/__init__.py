"""Answers of real llama-servers of many builds: the memory lines of their logs, on the CPU and without a compiler.

`xllamacpp` on PyPI links llama-server's own sources into a Python module, a wheel a build since May 2025.
"""
