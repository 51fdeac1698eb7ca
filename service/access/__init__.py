"""Who may do what: roles, tokens, and the doors of the pages and of the gRPC interface."""
