"""What to do about a finding: ways out as options, and which of them are printed."""
