"""What a training or test run has left, read for a report."""
