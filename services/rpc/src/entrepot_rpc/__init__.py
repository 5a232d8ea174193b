"""What every process needs to speak gRPC, and to read messages that it was not compiled with."""

__all__: list[str] = []
