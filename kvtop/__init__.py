"""kvtop: what fills the accelerator memory of your language-model servers."""

__version__ = "0.1.0"
