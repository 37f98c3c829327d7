"""Options of `vllm serve`: the table, its parser, and the settings that decide memory."""
