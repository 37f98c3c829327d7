"""What may enter kvtop: secrets are masked, control characters removed."""
