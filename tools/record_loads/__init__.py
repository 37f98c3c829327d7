"""Load shapes on real engines, recorded second by second: what the forecast of a full cache is judged by."""
