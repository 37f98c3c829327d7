"""What-ifs, frontiers and recommendations of this engine."""
