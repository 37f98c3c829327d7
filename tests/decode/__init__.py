"""The estimate of decode speed beside public measurements."""
