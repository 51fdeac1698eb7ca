"""Version 1 of the gRPC interface: its code is made from ``api/proto`` when the package is built."""
