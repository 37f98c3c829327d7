"""What the commands share: options, exit codes, help, colours, and the end of a run at fault."""
