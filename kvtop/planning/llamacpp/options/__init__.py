"""Options of llama-server: the table, its parser, and the settings that decide memory."""
