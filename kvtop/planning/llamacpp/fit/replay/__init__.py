"""The control flow of `--fit` (common/fit.cpp, b11434), apart from what any allocation takes."""
