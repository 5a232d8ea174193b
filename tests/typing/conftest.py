"""Examples that must type-check, and examples that must not."""
