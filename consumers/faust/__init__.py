"""Validation on Kafka: Faust hands the orders to `deedbook.consumers.worker`."""
