"""The log on Kafka: one adapter of the contract in `deedbook.events.log`."""
