"""What every process needs to speak gRPC: servers, channels, errors, health, logs."""

__all__: list[str] = []
