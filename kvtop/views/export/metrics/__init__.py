"""A frame as Prometheus metrics."""
