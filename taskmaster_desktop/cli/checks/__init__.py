"""What `taskmaster doctor` looks at."""
