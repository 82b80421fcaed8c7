"""Configurations as text: recipes, ``--set``, and ``config.toml``."""
