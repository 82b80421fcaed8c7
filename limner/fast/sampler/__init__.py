"""The compiled row sampler: models as programs, and the loop that runs them."""
