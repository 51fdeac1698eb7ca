"""What other people's programs call, and the pages people look at."""
