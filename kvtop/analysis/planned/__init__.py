"""Plans of running servers, and what-ifs on them."""
