"""What other people's programs import: log a training, deploy, boot a serving host."""
