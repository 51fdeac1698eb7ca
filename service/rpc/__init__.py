"""The gRPC interface, served: deedbook.v1.Registry, health and reflection."""
