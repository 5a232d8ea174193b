"""Every plugin against the SDK's suite."""
