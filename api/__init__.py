"""What the service and its clients say to each other: the gRPC interface, and its messages as facts and answers."""
