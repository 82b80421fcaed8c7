"""Training: objectives, the one loop, schedules, averages, checkpoints."""
