"""A registry behind a service: what `grpc://` and `grpcs://` name."""
