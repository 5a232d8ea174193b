"""The content origin: what package clients download. It serves bytes and lists, no more."""
