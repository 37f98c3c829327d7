"""Running servers: processes and endpoints joined, and each endpoint followed over time."""
