"""The HTTP door: REST and OpenAPI derived from descriptors, and what package clients download."""
