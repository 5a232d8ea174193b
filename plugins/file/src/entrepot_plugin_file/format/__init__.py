"""The manifest format, pure: bytes in, values out."""
