"""What the engine writes and reads: checkpoints."""
