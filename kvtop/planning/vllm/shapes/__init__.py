"""The matrices that a model class loads, from config.json alone: for a plan before anything is downloaded."""
