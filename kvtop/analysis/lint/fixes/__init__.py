"""What to do about a finding: ways out as options, and what makes room in a cache."""
