"""How a server is used: rates, growth, cache use, and its state in a word."""
