"""The content origin: what package clients download. It serves bytes and lists, and runs nothing."""
