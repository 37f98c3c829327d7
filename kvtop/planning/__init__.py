"""What it will take: pure rules from a model and launch options to a MemoryPlan, exactly as the engine allocates."""
