"""All processes as users start them, and real clients."""
